# Everything on the host that a playbook could change, one line each, in a stable order. Run as root.
# Left out is what changes by itself: logs, the database's data files, sockets, Ansible's and sudo's own traces, and
# apt's index of its package lists, which reading them brings up to date.
set -euo pipefail
export LC_ALL=C
home=/home/flavio

find /etc /home /opt /root /srv /usr/local /var/backups /var/cache/apt/archives /var/lib /var/spool \
  \( -path /var/lib/mysql -o -path /var/lib/systemd -o -path /var/lib/sudo -o -path "$home/webapp/logs/*" \
  -o -path "$home/.pm2/logs" -o -path "$home/.pm2/pm2.log" -o -path "$home/.pm2/*.sock" -o -path "$home/.ansible" \
  -o -path /root/.ansible \) -prune \
  -o -printf 'file %p %y %m %u:%g %s %T@ %l\n' | sort

find /etc/systemd /etc/mysql /etc/apt "$home/.config" "$home/.pm2/dump.pm2" "$home/webapp/.env" \
  -type f -print0 2>/dev/null | sort -z | xargs -0 sha256sum | sed 's/^/content /'

dpkg-query -W -f 'package ${Package} ${Version} ${db:Status-Abbrev}\n'
systemctl list-unit-files --no-legend --no-pager | sed 's/^/unit-file /'
systemctl list-units --type=service --no-legend --no-pager --plain | awk '{print "unit", $1, $2, $3, $4}'

# PM2 by the kernel and by itself: which processes, since when, restarted how often.
ps -u flavio -o pid=,lstart=,args= | grep -E 'God Daemon|dist/server' | grep -v grep | sed 's/^/process /'
sudo -n -u flavio -H pm2 jlist | jq -r '.[] | "pm2 \(.name) \(.pid) \(.pm2_env.status) \(.pm2_env.restart_time)"'

if command -v mysql >/dev/null; then client=mysql; else client=mariadb; fi
accounts=$("$client" -BN -e "SELECT CONCAT(QUOTE(user), '@', QUOTE(host)) FROM mysql.user ORDER BY 1")
while read -r account; do
  # Hashed: the line carries the hash of the account's password.
  "$client" -BN -e "SHOW CREATE USER $account" | sha256sum | sed "s/^/account $account /"
  "$client" -BN -e "SHOW GRANTS FOR $account" 2>/dev/null | sha256sum | sed "s/^/grants $account /"
done <<<"$accounts"
"$client" -BN -e "SHOW DATABASES" | sed 's/^/database /'
