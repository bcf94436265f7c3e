# More of the lab than `make lab` and `make lab-down`; `molecule/shared/lab.sh --help` names the parameters.

.PHONY: lab-status
lab-status: ## Tell how the lab is
	@$(LAB) status

.PHONY: lab-ssh
lab-ssh: ## Open a shell in the lab as the operator has it
	@$(LAB) ssh

.PHONY: lab-purge
lab-purge: ## Remove the lab, its images and its caches
	@$(LAB) purge
