"""What runs on managed hosts: collectors, parsers and the verdict.

Nothing here imports ``AnsibleModule`` or anything of the controller; Python 3.9 or newer and, for the database
collector, PyMySQL are all it needs. Inside this package imports are relative, so that Ansible ships exactly what a
module uses.
"""
