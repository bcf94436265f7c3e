"""Documentation that several modules share; read by ansible-doc only, not needed on hosts."""

from __future__ import annotations


class ModuleDocFragment:
    """``orquestrador`` is of every module, ``orquestrador.lease`` of those that have the option, and so on.

    A module overrides only the options and attributes that differ.
    """

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in check mode and return what would change without changing it.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  platform:
    description: Where it runs.
    support: full
    platforms: posix
author:
  - Orquestrador Ops
"""

    LEASE = r"""
options:
  lease:
    description:
      - The lease of the host that the procedure has, renewed for as long as the module works. Without it nothing is
        done; when it is lost the module ends in its orderly way. Not used in check mode.
    type: dict
    suboptions:
      path:
        description: The lease file.
        type: path
        required: true
      run_id:
        description: The run that has it.
        type: str
        required: true
      ttl_s:
        description: Seconds for which it is renewed.
        type: float
        required: true
      user:
        description: The owner of the file.
        type: str
        required: true
"""

    BACKUP = r"""
options:
  dest:
    description: Directory of the backups.
    type: path
    required: true
  timeout:
    description: Seconds that it may take.
    type: float
    default: 3600
  stall:
    description: Seconds without a byte after which it is ended.
    type: float
    default: 300
"""

    BACKUP_READ = r"""
options:
  backup:
    description: The backup, by its id, by its file, or C(latest).
    type: str
    default: latest
  identity:
    description: Private key of age.
    type: str
    required: true
"""

    BACKUP_WRITE = r"""
options:
  recipient:
    description: Public key of age.
    type: str
    required: true
  reserve_bytes:
    description: Free space that has to be left, in bytes; a backup is ended when there is less.
    type: int
    default: 1073741824
"""

    PLACES = r"""
options:
  places:
    description: The directories.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: Kind of the backups in it.
        type: str
        choices: [database, code]
        required: true
      path:
        description: The directory; one that does not exist has no backups.
        type: path
        required: true
"""

    CRITICAL = r"""
options:
  files:
    description: The files.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the directory of the copies below O(dest), a plain file name, each used once.
        type: str
        required: true
      path:
        description: The file.
        type: path
        required: true
      required:
        description: Whether it is a failure when the file does not exist.
        type: bool
        default: true
"""

    PM2 = r"""
options:
  app_name:
    description: Name of the application in PM2; all processes of this name are the application.
    type: str
    required: true
  pm2_home:
    description: PM2's home, the directory of C(rpc.sock).
    type: path
    required: true
  pm2_command:
    description: The PM2 command.
    type: str
    default: pm2
"""

    NPM = r"""
options:
  path:
    description: Directory of the project.
    type: path
    required: true
  command:
    description: The npm command.
    type: str
    default: npm
  registry:
    description: Registry to ask; empty for the one that npm is configured for.
    type: str
    default: ''
  timeout:
    description: Seconds that it may take.
    type: float
    default: 120
"""
