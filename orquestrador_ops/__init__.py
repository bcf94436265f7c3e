"""What runs on the controller: run record, history, reports and their languages."""
