"""Operations: what an operator asks for by hand."""

from __future__ import annotations

from orquestrador.core.messages import msg

from .descriptor import LEASE, RUNNING, Procedure, Step

BOOTSTRAP = Procedure(
    name="bootstrap",
    title=msg("Preparation of the host"),
    source="estrutura-de-diretorios",
    playbook="playbooks/setup/bootstrap.yml",
    budget_s=600,
    steps=(
        LEASE,
        Step("pm2_unit", msg("PM2 under its unit"), ("pm2.daemon", "pm2.online"), source="pontos-criticos"),
        Step(
            "database_account",
            msg("Operations account of the database"),
            ("mysql.reachable",),
            source="pontos-criticos",
        ),
        Step("application", msg("The application after the preparation"), RUNNING, source="pontos-criticos"),
    ),
)

BACKUP = Procedure(
    name="backup",
    title=msg("Backup of the database"),
    source="rotina-mensal",
    playbook="playbooks/operation/backup.yml",
    budget_s=10800,
    steps=(
        LEASE,
        Step("database_backup", msg("Encrypted backup of the database"), result="backup_database_result"),
        Step(
            "database_verify",
            msg("Restored and compared"),
            result="backup_verify_result",
            unwanted=msg("Not proven, because backup_prove is off: run verify_backup.yml before relying on it."),
        ),
        Step(
            "application",
            msg("The application after the backup"),
            ("mysql.reachable", "mysql.connections", "app.database", "host.disk"),
        ),
    ),
)

VERIFY_BACKUP = Procedure(
    name="verify_backup",
    title=msg("Proof of a backup by restoring it"),
    source="rotina-mensal",
    playbook="playbooks/operation/verify_backup.yml",
    budget_s=7200,
    steps=(
        LEASE,
        Step("database_verify", msg("Restored and compared"), result="backup_verify_result"),
        Step(
            "application",
            msg("The application after the proof"),
            ("mysql.reachable", "mysql.connections", "app.database", "host.disk"),
        ),
    ),
)

BACKUP_CODE = Procedure(
    name="backup_code",
    title=msg("Backup of the application's directory"),
    source="rotina-mensal",
    playbook="playbooks/operation/backup.yml",
    budget_s=10800,
    steps=(
        LEASE,
        Step("code_backup", msg("Encrypted backup of code and configuration"), result="backup_code_result"),
        Step(
            "application",
            msg("The application after the backup"),
            ("port.open", "http.status", "app.status", "host.disk"),
        ),
    ),
)

VERIFY_CODE = Procedure(
    name="verify_code",
    title=msg("Proof of a backup of the application's directory"),
    source="rotina-mensal",
    playbook="playbooks/operation/verify_backup.yml",
    budget_s=7200,
    steps=(
        LEASE,
        Step(
            "code_verify",
            msg("Read again and compared with the source as it was read"),
            result="backup_code_verify_result",
        ),
        Step(
            "application",
            msg("The application after the proof"),
            ("port.open", "http.status", "app.status", "host.disk"),
        ),
    ),
)

RESTORE = Procedure(
    name="restore",
    title=msg("Restore of a backup"),
    source="rotina-mensal",
    playbook="playbooks/operation/restore.yml",
    budget_s=7800,
    steps=(
        LEASE,
        Step("database_restore", msg("Saved, restored and compared"), result="backup_restore_result"),
        Step(
            "application",
            msg("The application after the restore"),
            ("pm2.daemon", "pm2.online", *RUNNING, "mysql.reachable", "mysql.connections"),
        ),
    ),
)

RESTORE_FILES = Procedure(
    name="restore_files",
    title=msg("Restore of files"),
    source="arquivos-criticos",
    playbook="playbooks/operation/restore.yml",
    budget_s=7800,
    steps=(
        LEASE,
        Step("files_restore", msg("Saved, restored and compared"), result="backup_restore_files_result"),
        Step("application", msg("The application after the restore"), RUNNING),
    ),
)

RELOAD = Procedure(
    name="reload",
    title=msg("Reload of the application"),
    source="rotina-mensal",
    playbook="playbooks/operation/reload.yml",
    budget_s=300,
    steps=(
        LEASE,
        Step("app_build", msg("Build of the application"), result="app_build_result", optional=True),
        Step("pm2_reload", msg("Reload, worker by worker"), result="pm2_reload_result"),
        Step("application", msg("The application after the reload"), ("pm2.daemon", "pm2.online", *RUNNING)),
    ),
)

ARCHIVE_LOGS = Procedure(
    name="archive_logs",
    title=msg("Archive of the logs"),
    source="rotina-semanal",
    playbook="playbooks/operation/archive_logs.yml",
    budget_s=900,
    steps=(
        LEASE,
        Step("logs_archive", msg("Logs archived, compared and begun anew"), result="logs_archive_result"),
        Step("pm2_flush", msg("What PM2 kept for itself put away"), result="pm2_flush_result"),
        Step(
            "application",
            msg("The application after the archive"),
            ("pm2.daemon", "pm2.online", "http.status", "host.disk"),
        ),
    ),
)

MAINTENANCE = Procedure(
    name="maintenance",
    title=msg("Maintenance window"),
    source="matriz-de-escalacao",
    playbook="playbooks/operation/maintenance.yml",
    budget_s=60,
    observes=False,
    steps=(Step("maintenance", msg("Maintenance window"), result="escalation_maintenance_result"),),
)
