# The lab's targets, included by the project's Makefile. LAB_DATABASE=mysql|mariadb chooses the database;
# `molecule/shared/lab.sh --help` names the other parameters.
LAB := molecule/shared/lab.sh

.PHONY: lab lab-down lab-status lab-ssh lab-purge lab-tools

## lab: start the lab container, or bring back one that is half built
lab: lab-tools
	@$(LAB) up

## lab-down: remove the lab, its keys and its secrets
lab-down:
	@$(LAB) down

## lab-status: tell how the lab is
lab-status:
	@$(LAB) status

## lab-ssh: open a shell in the lab
lab-ssh:
	@$(LAB) ssh

## lab-purge: remove the lab, its images and its caches
lab-purge:
	@$(LAB) purge

lab-tools:
	@tools/ensure-lab-tools.sh
