"""The routines: daily, weekly, monthly."""

from __future__ import annotations

from orquestrador.core.messages import msg
from orquestrador.health.checks import CHECK_IDS

from . import step_rules
from .descriptor import LEASE, Procedure, Step

DAILY = Procedure(
    name="daily",
    title=msg("Daily routine"),
    source="rotina-diaria",
    playbook="playbooks/routine/daily.yml",
    budget_s=300,
    steps=(
        Step("pm2_status", msg("Status of PM2"), ("pm2.daemon", "pm2.online", "pm2.restarts")),
        Step("health_check", msg("Health check"), ("port.open", "mysql.reachable", "mysql.connections"), overall=True),
        Step("error_logs", msg("Error logs"), ("logs.errors",)),
        Step("api", msg("API reachable"), ("http.status", "http.latency", "app.status", "app.database")),
        Step("resources", msg("Use of resources"), ("memory.app", "cpu.app", "host.memory", "host.disk")),
        Step(
            "critical_files",
            msg("Backup of critical files"),
            result="backup_critical_result",
            judge=step_rules.files,
            source="arquivos-criticos",
        ),
    ),
)

# Inspections and care that the weekly and the monthly routine are made of.
NPM_OUTDATED = Step("npm_outdated", msg("Packages that are behind"), result="app_outdated_result")
GIT_INTEGRITY = Step("git_integrity", msg("Integrity of the repository"), result="app_git_result")
UPTIME = Step(
    "uptime", msg("Time since the last start"), judge=step_rules.uptime, variables=("health_uptime_min_days",)
)

WEEKLY = Procedure(
    name="weekly",
    title=msg("Weekly routine"),
    source="rotina-semanal",
    playbook="playbooks/routine/weekly.yml",
    budget_s=900,
    period_days=7,
    steps=(
        LEASE,
        Step("logs_archive", msg("Logs archived, compared and begun anew"), result="logs_archive_result"),
        Step("pm2_flush", msg("What PM2 kept for itself put away"), result="pm2_flush_result", needs="logs_archive"),
        NPM_OUTDATED,
        Step("app_tests", msg("Test suite of the application"), result="app_test_result"),
        GIT_INTEGRITY,
        UPTIME,
        Step("health_check", msg("Health check"), CHECK_IDS, overall=True),
    ),
)

MONTHLY = Procedure(
    name="monthly",
    title=msg("Monthly routine"),
    source="rotina-mensal",
    playbook="playbooks/routine/monthly.yml",
    budget_s=1800,
    period_days=30,
    steps=(
        LEASE,
        Step("database_backup", msg("Encrypted backup of the database"), result="backup_database_result"),
        Step("database_verify", msg("Restored and compared"), result="backup_verify_result", needs="database_backup"),
        Step("code_backup", msg("Encrypted backup of code and configuration"), result="backup_code_result"),
        # Rebuilds tables, so not without a proven way back.
        Step(
            "database_optimize",
            msg("Optimisation of the database"),
            result="mysql_optimize_result",
            needs="database_verify",
        ),
        Step("npm_audit", msg("Known vulnerabilities of the packages"), result="app_audit_result", needs="code_backup"),
        Step("app_build", msg("Build of the application"), result="app_build_result", needs="code_backup"),
        Step("pm2_reload", msg("Reload, worker by worker"), result="pm2_reload_result", needs="app_build"),
        Step("app_tests", msg("Test suite of the application"), result="app_test_result"),
        Step(
            "application",
            msg("The application after the restart"),
            (
                "pm2.daemon",
                "pm2.online",
                "port.open",
                "http.status",
                "http.latency",
                "app.status",
                "app.database",
                "mysql.reachable",
                "host.disk",
            ),
        ),
        Step("backup_copy", msg("Copies of the backups elsewhere"), result="backup_copy_result"),
        Step("backup_retention", msg("Old backups"), result="backup_retention_result"),
        Step("log_errors", msg("Error logs of seven days"), result="logs_errors_result"),
    ),
)
