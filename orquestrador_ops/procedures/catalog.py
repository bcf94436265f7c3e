"""Every routine as data: its steps, the checks that belong to them, and what one step needs of another.

Source of the steps: the operational playbook, whose chapters are named by their slugs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orquestrador.core.messages import msg
from orquestrador.core.types import Message
from orquestrador.health.checks import CHECK_IDS

from . import step_rules as judges
from .step_rules import Facts, Judged, Snapshot


@dataclass(frozen=True)
class Step:
    """One step of a routine.

    ``checks`` are judged from the verdict; ``overall`` asks that the whole verdict be healthy as well; a step with
    neither is an action, whose result the playbook hands in (``step_results``). Where no action reported, ``judge``
    tells from the snapshot and from facts: the inventory's ``variables`` and what the history knows. ``needs`` is the
    id of a step without which this one is not begun. One that is ``optional`` was not asked for when it has no result,
    and is then no step of the run. ``unwanted`` is what is said of an action that the operator had skipped;
    without it a skipped action was not done.
    """

    id: str
    title: Message
    source: str
    checks: tuple[str, ...] = ()
    overall: bool = False
    judge: Callable[[Snapshot, Facts], Judged] | None = None
    variables: tuple[str, ...] = ()
    needs: str = ""
    optional: bool = False
    unwanted: Message | None = None


@dataclass(frozen=True)
class Routine:
    """A routine of the operational playbook.

    ``budget_s`` is the time it may take, in seconds; ``period_days`` how far back its report looks into the history.
    One that does not observe has nothing to say of the host.
    ``proof`` are the steps that decide whether the expected result was met, all where it is empty: of a ladder of
    actions, the one that helped is enough.
    """

    procedure: str
    title: Message
    source: str
    budget_s: int
    steps: tuple[Step, ...]
    period_days: int = 0
    observes: bool = True
    proof: tuple[str, ...] = ()


_RUNNING = ("port.open", "http.status", "app.status", "app.database")

DAILY = Routine(
    procedure="daily",
    title=msg("Daily routine"),
    source="rotina-diaria",
    budget_s=300,
    steps=(
        Step(
            "pm2_status",
            msg("Status of PM2"),
            "rotina-diaria",
            ("pm2.daemon", "pm2.online", "pm2.restarts"),
        ),
        Step(
            "health_check",
            msg("Health check"),
            "rotina-diaria",
            ("port.open", "mysql.reachable", "mysql.connections"),
            overall=True,
        ),
        Step("error_logs", msg("Error logs"), "rotina-diaria", ("logs.errors",)),
        Step(
            "api",
            msg("API reachable"),
            "rotina-diaria",
            ("http.status", "http.latency", "app.status", "app.database"),
        ),
        Step(
            "resources",
            msg("Use of resources"),
            "rotina-diaria",
            ("memory.app", "cpu.app", "host.memory", "host.disk"),
        ),
        Step("critical_files", msg("Backup of critical files"), "arquivos-criticos", judge=judges.files),
    ),
)

BOOTSTRAP = Routine(
    procedure="bootstrap",
    title=msg("Preparation of the host"),
    source="estrutura-de-diretorios",
    budget_s=600,
    steps=(
        Step("lease", msg("Lease of the host"), "pontos-criticos"),
        Step("pm2_unit", msg("PM2 under its unit"), "pontos-criticos", ("pm2.daemon", "pm2.online")),
        Step("database_account", msg("Operations account of the database"), "pontos-criticos", ("mysql.reachable",)),
        Step(
            "application",
            msg("The application after the preparation"),
            "pontos-criticos",
            _RUNNING,
        ),
    ),
)

BACKUP = Routine(
    procedure="backup",
    title=msg("Backup of the database"),
    source="rotina-mensal",
    budget_s=10800,
    steps=(
        Step("lease", msg("Lease of the host"), "pontos-criticos"),
        Step("database_backup", msg("Encrypted backup of the database"), "rotina-mensal"),
        Step(
            "database_verify",
            msg("Restored and compared"),
            "rotina-mensal",
            unwanted=msg("Not proven, because backup_prove is off: run verify_backup.yml before relying on it."),
        ),
        Step(
            "application",
            msg("The application after the backup"),
            "rotina-mensal",
            ("mysql.reachable", "mysql.connections", "app.database", "host.disk"),
        ),
    ),
)

VERIFY_BACKUP = Routine(
    procedure="verify_backup",
    title=msg("Proof of a backup by restoring it"),
    source="rotina-mensal",
    budget_s=7200,
    steps=(
        Step("lease", msg("Lease of the host"), "pontos-criticos"),
        Step("database_verify", msg("Restored and compared"), "rotina-mensal"),
        Step(
            "application",
            msg("The application after the proof"),
            "rotina-mensal",
            ("mysql.reachable", "mysql.connections", "app.database", "host.disk"),
        ),
    ),
)

BACKUP_CODE = Routine(
    procedure="backup_code",
    title=msg("Backup of the application's directory"),
    source="rotina-mensal",
    budget_s=3600,
    steps=(
        Step("lease", msg("Lease of the host"), "pontos-criticos"),
        Step("code_backup", msg("Encrypted backup of code and configuration"), "rotina-mensal"),
        Step(
            "application",
            msg("The application after the backup"),
            "rotina-mensal",
            ("port.open", "http.status", "app.status", "host.disk"),
        ),
    ),
)

VERIFY_CODE = Routine(
    procedure="verify_code",
    title=msg("Proof of a backup of the application's directory"),
    source="rotina-mensal",
    budget_s=7200,
    steps=(
        Step("lease", msg("Lease of the host"), "pontos-criticos"),
        Step("code_verify", msg("Read again and compared with the source as it was read"), "rotina-mensal"),
        Step(
            "application",
            msg("The application after the proof"),
            "rotina-mensal",
            ("port.open", "http.status", "app.status", "host.disk"),
        ),
    ),
)

RESTORE = Routine(
    procedure="restore",
    title=msg("Restore of a backup"),
    source="rotina-mensal",
    budget_s=7800,
    steps=(
        Step("lease", msg("Lease of the host"), "pontos-criticos"),
        Step("database_restore", msg("Saved, restored and compared"), "rotina-mensal"),
        Step(
            "application",
            msg("The application after the restore"),
            "rotina-mensal",
            ("pm2.daemon", "pm2.online", *_RUNNING, "mysql.reachable", "mysql.connections"),
        ),
    ),
)

RESTORE_FILES = Routine(
    procedure="restore_files",
    title=msg("Restore of files"),
    source="arquivos-criticos",
    budget_s=7800,
    steps=(
        Step("lease", msg("Lease of the host"), "pontos-criticos"),
        Step("files_restore", msg("Saved, restored and compared"), "arquivos-criticos"),
        Step("application", msg("The application after the restore"), "arquivos-criticos", _RUNNING),
    ),
)

RELOAD = Routine(
    procedure="reload",
    title=msg("Reload of the application"),
    source="rotina-mensal",
    budget_s=300,
    steps=(
        Step("lease", msg("Lease of the host"), "pontos-criticos"),
        Step("app_build", msg("Build of the application"), "rotina-mensal", optional=True),
        Step("pm2_reload", msg("Reload, worker by worker"), "rotina-mensal"),
        Step(
            "application",
            msg("The application after the reload"),
            "rotina-mensal",
            ("pm2.daemon", "pm2.online", *_RUNNING),
        ),
    ),
)

ARCHIVE_LOGS = Routine(
    procedure="archive_logs",
    title=msg("Archive of the logs"),
    source="rotina-semanal",
    budget_s=900,
    steps=(
        Step("lease", msg("Lease of the host"), "pontos-criticos"),
        Step("logs_archive", msg("Logs archived, compared and begun anew"), "rotina-semanal"),
        Step("pm2_flush", msg("What PM2 kept for itself put away"), "rotina-semanal"),
        Step(
            "application",
            msg("The application after the archive"),
            "rotina-semanal",
            ("pm2.daemon", "pm2.online", "http.status", "host.disk"),
        ),
    ),
)

# Inspections and care that the weekly and the monthly routine are made of.
NPM_OUTDATED = Step("npm_outdated", msg("Packages that are behind"), "rotina-semanal")
GIT_INTEGRITY = Step("git_integrity", msg("Integrity of the repository"), "rotina-semanal")
UPTIME = Step(
    "uptime",
    msg("Time since the last start"),
    "rotina-semanal",
    judge=judges.uptime,
    variables=("health_uptime_min_days",),
)

WEEKLY = Routine(
    procedure="weekly",
    title=msg("Weekly routine"),
    source="rotina-semanal",
    budget_s=900,
    period_days=7,
    steps=(
        Step("lease", msg("Lease of the host"), "pontos-criticos"),
        Step("logs_archive", msg("Logs archived, compared and begun anew"), "rotina-semanal"),
        Step("pm2_flush", msg("What PM2 kept for itself put away"), "rotina-semanal", needs="logs_archive"),
        NPM_OUTDATED,
        Step("app_tests", msg("Test suite of the application"), "rotina-semanal"),
        GIT_INTEGRITY,
        UPTIME,
        Step(
            "health_check",
            msg("Health check"),
            "rotina-semanal",
            CHECK_IDS,
            overall=True,
        ),
    ),
)

MONTHLY = Routine(
    procedure="monthly",
    title=msg("Monthly routine"),
    source="rotina-mensal",
    budget_s=1800,
    period_days=30,
    steps=(
        Step("lease", msg("Lease of the host"), "pontos-criticos"),
        Step("database_backup", msg("Encrypted backup of the database"), "rotina-mensal"),
        Step(
            "database_verify",
            msg("Restored and compared"),
            "rotina-mensal",
            needs="database_backup",
        ),
        Step("code_backup", msg("Encrypted backup of code and configuration"), "rotina-mensal"),
        # Rebuilds tables, so not without a proven way back.
        Step("database_optimize", msg("Optimisation of the database"), "rotina-mensal", needs="database_verify"),
        Step("npm_audit", msg("Known vulnerabilities of the packages"), "rotina-mensal", needs="code_backup"),
        Step("app_build", msg("Build of the application"), "rotina-mensal", needs="code_backup"),
        Step("pm2_reload", msg("Reload, worker by worker"), "rotina-mensal", needs="app_build"),
        Step("app_tests", msg("Test suite of the application"), "rotina-mensal"),
        Step(
            "application",
            msg("The application after the restart"),
            "rotina-mensal",
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
        Step("backup_copy", msg("Copies of the backups elsewhere"), "rotina-mensal"),
        Step("backup_retention", msg("Old backups"), "rotina-mensal"),
        Step("log_errors", msg("Error logs of seven days"), "rotina-mensal"),
    ),
)

# What every emergency procedure begins with; rungs of a ladder are steps only where they were climbed.
_EMERGENCY = (
    Step("gate", msg("Circuit breaker and maintenance"), "matriz-de-escalacao", optional=True),
    Step("diagnosis", msg("Diagnosis"), "procedimentos-de-emergencia"),
    Step("lease", msg("Lease of the host"), "procedimentos-de-emergencia", optional=True),
    Step("evidence", msg("Evidence kept before anything is changed"), "procedimentos-de-emergencia", optional=True),
)
_ESCALATION = Step("escalation", msg("Escalation"), "matriz-de-escalacao", optional=True)


def _rung(name: str, title: Message, source: str) -> Step:
    return Step(name, title, source, optional=True)


# The gentlest first. A procedure shows those that its ladder had to climb.
_OFFLINE_RUNGS = (
    _rung("go_on", msg("Halted processes told to go on"), "alerta-critico"),
    _rung("free_port", msg("Port freed from a foreign process"), "alerta-critico"),
    _rung("roll_back", msg("Back to the build before"), "alerta-critico"),
    _rung("daemon", msg("PM2 started by its unit"), "alerta-critico"),
    _rung("reload", msg("Reload of the application"), "alerta-critico"),
    _rung("end_hung", msg("Processes that hang ended and started again"), "alerta-critico"),
    _rung("restart", msg("Restart of the application"), "alerta-critico"),
    _rung("resurrect", msg("PM2's saved list started"), "alerta-critico"),
    _rung("start_anew", msg("Stop, and start from the ecosystem file"), "alerta-critico"),
)

OFFLINE = Routine(
    procedure="offline",
    title=msg("Emergency: system offline"),
    source="alerta-critico",
    budget_s=120,
    proof=("diagnosis", "application"),
    steps=(
        *_EMERGENCY,
        *_OFFLINE_RUNGS,
        Step(
            "application",
            msg("The application proven well"),
            "alerta-critico",
            ("pm2.daemon", "pm2.online", *_RUNNING),
        ),
        _ESCALATION,
    ),
)

_HEAVY = ("http.latency", "cpu.app", "memory.app")

PERFORMANCE = Routine(
    procedure="performance",
    title=msg("Emergency: degraded performance"),
    source="alerta-alto",
    budget_s=300,
    proof=("diagnosis", "remedy", "observed", "application"),
    steps=(
        *_EMERGENCY,
        _rung("resources", msg("Resources"), "alerta-alto"),
        _rung("heaviest", msg("The heaviest process"), "alerta-alto"),
        _rung("queries", msg("Slow and waiting queries"), "alerta-alto"),
        _rung("remedy", msg("What can be done from here"), "alerta-alto"),
        _rung("second_look", msg("Second look before anything is touched"), "alerta-alto"),
        _rung("heap_snapshot", msg("Heap snapshot"), "alerta-alto"),
        _rung("flush", msg("Flush of PM2's logs"), "alerta-alto"),
        _rung("reload", msg("Reload, worker by worker"), "alerta-alto"),
        _rung("restart", msg("Restart of the application"), "alerta-alto"),
        _rung("observed", msg("Observed, and the trend"), "alerta-alto"),
        Step(
            "application",
            msg("The application proven well"),
            "alerta-alto",
            ("pm2.daemon", "pm2.online", *_RUNNING, *_HEAVY),
        ),
        _ESCALATION,
    ),
)

DISK = Routine(
    procedure="disk",
    title=msg("Emergency: disk full"),
    source="alerta-alto",
    budget_s=300,
    proof=("diagnosis", "freed", "application"),
    steps=(
        *_EMERGENCY,
        _rung("usage", msg("What fills the disk"), "alerta-alto"),
        _rung("log_archives", msg("Expired archives of logs"), "alerta-alto"),
        _rung("backups", msg("Expired backups"), "alerta-alto"),
        _rung("npm_cache", msg("npm's cache"), "alerta-alto"),
        _rung("freed", msg("Room on the disk"), "alerta-alto"),
        Step(
            "application",
            msg("Disk and application proven well"),
            "alerta-alto",
            ("host.disk", "pm2.daemon", "pm2.online", *_RUNNING),
        ),
        _ESCALATION,
    ),
)

TRIAGE = Routine(
    procedure="triage",
    title=msg("Emergency triage"),
    source="procedimentos-de-emergencia",
    budget_s=30,
    proof=("triage",),
    steps=(
        Step("triage", msg("Which emergency it is"), "procedimentos-de-emergencia"),
        Step(
            "application",
            msg("What was seen"),
            "procedimentos-de-emergencia",
            ("mysql.reachable", "pm2.daemon", "pm2.online", *_RUNNING, *_HEAVY, "host.disk"),
        ),
    ),
)

_DATABASE_RUNGS = (
    _rung("service", msg("Service of the database started"), "alerta-medio"),
    _rung("wait", msg("The database waited for"), "alerta-medio"),
    _rung("server_go_on", msg("Halted server told to go on"), "alerta-medio"),
    _rung("service_restart", msg("Restart of the database's service"), "alerta-medio"),
    _rung("idle_connections", msg("Idle connections ended"), "alerta-medio"),
    _rung("tables", msg("Tables checked and repaired"), "alerta-medio"),
    _rung("reconnect", msg("The application reconnects by itself"), "alerta-medio"),
    _rung("daemon", msg("PM2 started by its unit"), "alerta-medio"),
    _rung("restart", msg("Restart of the application"), "alerta-medio"),
    _rung("resurrect", msg("PM2's saved list started"), "alerta-medio"),
    _rung("start_anew", msg("Stop, and start from the ecosystem file"), "alerta-medio"),
)

DATABASE = Routine(
    procedure="database",
    title=msg("Emergency: database connection failed"),
    source="alerta-medio",
    budget_s=180,
    # Tables that are still damaged are no proof of anything, however well the rest answers.
    proof=("diagnosis", "tables", "application"),
    steps=(
        *_EMERGENCY,
        *_DATABASE_RUNGS,
        Step(
            "application",
            msg("The application proven well"),
            "alerta-medio",
            ("mysql.reachable", "mysql.connections", "pm2.daemon", "pm2.online", *_RUNNING),
        ),
        _ESCALATION,
    ),
)

MAINTENANCE = Routine(
    procedure="maintenance",
    title=msg("Maintenance window"),
    source="matriz-de-escalacao",
    budget_s=60,
    observes=False,
    steps=(Step("maintenance", msg("Maintenance window"), "matriz-de-escalacao"),),
)

_ALL = (
    DAILY,
    BOOTSTRAP,
    BACKUP,
    VERIFY_BACKUP,
    BACKUP_CODE,
    VERIFY_CODE,
    RESTORE,
    RESTORE_FILES,
    RELOAD,
    ARCHIVE_LOGS,
    WEEKLY,
    MONTHLY,
    OFFLINE,
    PERFORMANCE,
    DATABASE,
    DISK,
    TRIAGE,
    MAINTENANCE,
)
ROUTINES: Mapping[str, Routine] = {routine.procedure: routine for routine in _ALL}

# Names of every procedure of the project, so that a record of any of them can be shown.
TITLES: Mapping[str, Message] = {
    "daily": DAILY.title,
    "bootstrap": BOOTSTRAP.title,
    "backup": BACKUP.title,
    "verify_backup": VERIFY_BACKUP.title,
    "backup_code": BACKUP_CODE.title,
    "verify_code": VERIFY_CODE.title,
    "restore": RESTORE.title,
    "restore_files": RESTORE_FILES.title,
    "reload": RELOAD.title,
    "archive_logs": ARCHIVE_LOGS.title,
    "maintenance": MAINTENANCE.title,
    "weekly": WEEKLY.title,
    "monthly": MONTHLY.title,
    "quarterly": msg("Quarterly security audit"),
    "triage": TRIAGE.title,
    "offline": OFFLINE.title,
    "performance": PERFORMANCE.title,
    "database": DATABASE.title,
    "disk": DISK.title,
    "watch": msg("Watch"),
    "sla": msg("Service levels"),
}

# The procedure a verdict calls for: where it lives.
PLAYBOOKS: Mapping[str, str] = {
    "database": "playbooks/emergency/database.yml",
    "offline": "playbooks/emergency/offline.yml",
    "performance": "playbooks/emergency/performance.yml",
    "disk": "playbooks/emergency/disk.yml",
}
