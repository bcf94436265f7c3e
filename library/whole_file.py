#!/usr/bin/python
"""Write a file atomically as the task's user: see ``DOCUMENTATION``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: whole_file
short_description: Write a file atomically
description:
  - The content is an argument. M(ansible.builtin.copy) and M(ansible.builtin.template) first put it into a temporary
    file of the connection's account, which another user can't read, or everybody can.
  - The file has its mode before it has its content, and takes the place of what was there at once. A link in its place
    is replaced and not followed.
  - It belongs to the user of the task.
options:
  path:
    description: The file. Its directory has to exist.
    type: path
    required: true
  content:
    description: What the file holds afterwards, in UTF-8.
    type: str
    required: true
  mode:
    description: Its mode, octal and in quotes.
    type: str
    default: '0600'
attributes:
  check_mode:
    description: Can run in check mode and return whether the file would be written.
  diff_mode:
    description: Shows nothing, because the content may be a secret.
extends_documentation_fragment: [orquestrador]
"""

EXAMPLES = r"""
- name: Write the credential of the operations account
  whole_file:
    path: /home/flavio/.config/orquestrador-ops/mysql.cnf
    content: "{{ lookup('ansible.builtin.template', 'mysql.cnf.j2') }}"
  become: true
  become_user: flavio
  no_log: true
"""

RETURN = r"""
changed:
  description: Whether the file had to be written, or would have to be in check mode.
  returned: always
  type: bool
failures:
  description: Why it failed, as messages.
  returned: failure
  type: list
  elements: dict
  sample: [{text: "{path} could not be written: {reason}", args: {path: /etc/x, reason: Permission denied}}]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.orquestrador.core.messages import msg
from ansible.module_utils.orquestrador.core.module import fail
from ansible.module_utils.orquestrador.system.whole_file import is_whole, write_whole

ARGUMENT_SPEC = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str", "required": True, "no_log": True},
    "mode": {"type": "str", "default": "0600"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    path, data = module.params["path"], module.params["content"].encode()
    try:
        mode = int(module.params["mode"], 8)
    except ValueError:
        module.fail_json(msg=f"mode is '{module.params['mode']}': give an octal number in quotes")
    changed = not is_whole(path, data, mode)
    if changed and not module.check_mode:
        try:
            write_whole(path, data, mode)
        except OSError as error:
            text = msg("{path} could not be written: {reason}", path=path, reason=error.strerror or str(error))
            fail(module, text)
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
