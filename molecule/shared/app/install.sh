#!/usr/bin/env bash
# Installs the application as production has it: install.sh SOURCE USER DIRECTORY, as root, on the host itself.
#
#   LAB_DATABASE=mysql|mariadb  which client talks to the server (root by the Unix socket)   default mysql
#   APP_PORT                    port of the application                                      default 3001
#   LAB_DEBUG=1                 puts a generated APP_DEBUG_TOKEN in .env; removed otherwise
#
# Every step looks first at what is there, so that it may be run again and runs on after an interruption.
# Generated secrets travel through standard input and .env (0600), never in an argument.
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8

die() { echo "install.sh: $*" >&2; exit 1; }
step() { echo "app: $*"; }

[ $# -eq 3 ] || die 'usage: install.sh SOURCE USER DIRECTORY'
[ "$(id -u)" -eq 0 ] || die 'run it as root: it creates the database and its account'
SOURCE=$(readlink -f "$1") APP_USER=$2 APP_DIR=$3
PORT=${APP_PORT:-3001} DATABASE=orquestrador_ia ACCOUNT=orquestrador
HOME_DIR=$(getent passwd "$APP_USER" | cut -d: -f6)
[ -n "$HOME_DIR" ] || die "user $APP_USER does not exist: create it first"
[ -d "$SOURCE/node_modules/express" ] || die "$SOURCE/node_modules is missing: run npm ci in $SOURCE first"
case ${LAB_DATABASE:-mysql} in
    mysql) CLIENT=mysql ;;
    mariadb) CLIENT=mariadb ;;
    *) die "LAB_DATABASE is \"$LAB_DATABASE\": give mysql or mariadb" ;;
esac
for command in "$CLIENT" node npm pm2 git curl setpriv; do
    command -v "$command" >/dev/null || die "$command is missing: install it in the image"
done

# Without PAM, so that the PM2 daemon does not end with a login session; with a clean environment, because PM2 keeps it.
as_user() {
    (cd "$APP_DIR" && exec setpriv --reuid="$APP_USER" --regid="$APP_USER" --init-groups \
        env -i HOME="$HOME_DIR" USER="$APP_USER" LOGNAME="$APP_USER" SHELL=/bin/bash LANG=C.UTF-8 \
        PATH=/usr/local/bin:/usr/bin:/bin "$@")
}
sql() { timeout 120 "$CLIENT" --default-character-set=utf8mb4 --batch --skip-column-names "$@"; }
secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
health() { curl -s -m 2 "http://127.0.0.1:$PORT/api/health" || true; }
own() { install -d -o "$APP_USER" -g "$APP_USER" "$@"; }

step 'waiting for the database'
for ((i = 0; ; i++)); do
    if answer=$(sql -e 'SELECT 1' 2>&1); then break; fi
    [ "$i" -lt 120 ] || die "the database does not answer root on its socket: $answer"
    sleep 0.5
done

own "$APP_DIR"
# The commit names the sources it was made of: others than these are copied over and committed further down.
list() {
    cd "$SOURCE" || return
    find . -name node_modules -prune -o -type f ! -path ./install.sh ! -path ./README.md -print0 | sort -z
}
DEPLOYED="Sources: $( (list) | (cd "$SOURCE" && xargs -0 sha256sum) | sha256sum | cut -c 1-16)"
deployed() { as_user git log -1 --format=%B 2>/dev/null | grep -qxF "$DEPLOYED"; }
if ! deployed; then
    step 'copying the sources'
    { as_user git ls-files -z 2>/dev/null || true; } | as_user xargs -0 --no-run-if-empty rm -f --
    (list) | tar -C "$SOURCE" --null --files-from=- -cf - | as_user tar --no-same-owner -xf -
fi
own "$APP_DIR"/{logs,backups,reports}

# .env: what is there stays, what is missing is added.
ENV_FILE=$APP_DIR/.env
before=$(sha256sum "$ENV_FILE" 2>/dev/null || true)
touch "$ENV_FILE.new"
chmod 0600 "$ENV_FILE.new"
cat "$ENV_FILE" >"$ENV_FILE.new" 2>/dev/null || true
setting() { sed -n "s/^$1=//p" "$ENV_FILE.new" | tail -n 1; }
remove() { sed -i "/^$1=/d" "$ENV_FILE.new"; }
ensure() { # name value: an empty one counts as missing
    [ -z "$(setting "$1")" ] || return 0
    remove "$1"
    printf '%s=%s\n' "$1" "$2" >>"$ENV_FILE.new"
}
remove PORT
ensure PORT "$PORT"
ensure DB_HOST 127.0.0.1
ensure DB_PORT "${DB_PORT:-3306}"
ensure DB_USER "$ACCOUNT"
ensure DB_PASSWORD "$(secret)"
ensure DB_NAME "$DATABASE"
ensure SESSION_SECRET "$(secret)"
if [ "${LAB_DEBUG:-}" = 1 ]; then ensure APP_DEBUG_TOKEN "$(secret)"; else remove APP_DEBUG_TOKEN; fi
PASSWORD=$(setting DB_PASSWORD)
[[ $PASSWORD =~ ^[0-9A-Za-z]{16,128}$ ]] ||
    die "DB_PASSWORD in $ENV_FILE is not 16 to 128 letters and digits: remove the line to have one generated"
sort -o "$ENV_FILE.new" "$ENV_FILE.new"
chown "$APP_USER:$APP_USER" "$ENV_FILE.new"
mv "$ENV_FILE.new" "$ENV_FILE"
changed=no
if [ "$before" != "$(sha256sum "$ENV_FILE")" ]; then changed=yes; fi

step 'creating the database and its account'
{
    echo "CREATE DATABASE IF NOT EXISTS $DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;"
    for host in localhost 127.0.0.1; do # the second where names are not resolved
        echo "CREATE USER IF NOT EXISTS '$ACCOUNT'@'$host' IDENTIFIED BY '$PASSWORD';"
        echo "ALTER USER '$ACCOUNT'@'$host' IDENTIFIED BY '$PASSWORD';"
        echo "GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON $DATABASE.* TO '$ACCOUNT'@'$host';"
    done
} | sql
sql "$DATABASE" <"$SOURCE/server/db/schema.sql"
if [ -z "$(sql "$DATABASE" -e "SELECT 1 FROM schemaMigration WHERE name = '0002-seed'")" ]; then
    step 'seeding rows'
    sql "$DATABASE" <"$SOURCE/server/db/seed.sql"
fi

if ! cmp -s "$SOURCE/node_modules/.package-lock.json" "$APP_DIR/node_modules/.package-lock.json"; then
    step 'copying the dependencies'
    rm -rf "$APP_DIR/node_modules.partial"
    cp -a "$SOURCE/node_modules" "$APP_DIR/node_modules.partial"
    chown -R "$APP_USER:$APP_USER" "$APP_DIR/node_modules.partial"
    rm -rf "$APP_DIR/node_modules"
    mv "$APP_DIR/node_modules.partial" "$APP_DIR/node_modules"
fi
if ! deployed || [ ! -s "$APP_DIR/dist/server/index.js" ] || [ ! -s "$APP_DIR/dist/public/index.html" ]; then
    step 'building'
    as_user timeout 120 npm run --silent build
    changed=yes
fi

# Last, so that an interruption before it has the sources built again.
ORIGIN=$HOME_DIR/git/webapp.git
if ! deployed; then
    step 'committing to the git repository'
    [ -d "$APP_DIR/.git" ] || as_user git init --quiet --initial-branch=main
    as_user git add --all
    as_user git -c user.name=Orquestrador -c user.email=dev@example.invalid commit --quiet --allow-empty \
        -m 'Orquestrador de IAs V3.4.0' -m "$DEPLOYED"
fi
if [ "$(as_user git rev-parse HEAD)" != "$(as_user git rev-parse --verify --quiet refs/remotes/origin/main)" ]; then
    own "$HOME_DIR/git"
    [ -f "$ORIGIN/HEAD" ] || as_user git init --quiet --bare --initial-branch=main "$ORIGIN"
    as_user git remote get-url origin >/dev/null 2>&1 || as_user git remote add origin "$ORIGIN"
    as_user git push --quiet --set-upstream origin main
fi

if [ "$changed" = yes ] || [[ $(health) != *'"database":"connected"'* ]]; then
    step 'starting under PM2'
    as_user timeout 60 pm2 start ecosystem.config.cjs --silent </dev/null
    # A deployment that restarted the application is no failure: the counter starts again at 0.
    as_user timeout 30 pm2 reset orquestrador-v3 --silent </dev/null
fi
for ((i = 0; ; i++)); do
    if [[ $(health) == *'"database":"connected"'* ]]; then break; fi
    [ "$i" -lt 60 ] ||
        die "the application does not answer on port $PORT with its database connected: read $APP_DIR/logs/error.log"
    sleep 0.5
done
step "healthy on http://127.0.0.1:$PORT/api/health"
