#!/usr/bin/env bash
# Health monitor: one look, or one a minute with --continuous. Needs pm2, jq, nc, curl, free, df and top.
# Appends to logs/health-monitor.log; exit status 0 when healthy, 1 when not, 2 when called wrongly.
set -u
cd "$(dirname "$(readlink -f "$0")")" || exit 2
export LC_ALL=C

APP=orquestrador-v3
INTERVAL=${MONITOR_INTERVAL:-60}
PORT=$(sed -n 's/^PORT=//p' .env 2>/dev/null | tail -n 1)
PORT=${PORT:-3001}
LOG=logs/health-monitor.log
PROBLEMS=0

say() { # LEVEL message
    local line
    printf -v line '%(%Y-%m-%d %H:%M:%S)T [%s] %s' -1 "$1" "$2"
    printf '%s\n' "$line"
    printf '%s\n' "$line" >>"$LOG" 2>/dev/null
    if [ "$1" = ERROR ]; then PROBLEMS=$((PROBLEMS + 1)); fi
}

level() { if [ "$1" -gt "$2" ]; then echo WARNING; else echo INFO; fi; } # percent limit

check_pm2() {
    local total online restarts memory
    # jlist may print a banner before its JSON, which is one line.
    read -r total online restarts memory < <(timeout 15 pm2 jlist 2>/dev/null | grep '^\[' | tail -n 1 |
        jq -r --arg app "$APP" '[.[] | select(.name == $app)] | [
            length,
            ([.[] | select(.pm2_env.status == "online")] | length),
            ([.[].pm2_env.restart_time] | add // 0),
            ([.[].monit.memory] | max // 0)
        ] | join(" ")')
    if [ "${total:-0}" -eq 0 ]; then
        say ERROR "PM2: processo $APP não encontrado"
        return
    fi
    if [ "$online" -eq "$total" ]; then
        say INFO "PM2: $online de $total online, $restarts restarts"
    else
        say ERROR "PM2: só $online de $total online"
    fi
    memory=$((memory / 1048576))
    if [ "$memory" -gt 500 ]; then
        say ERROR "Memória da aplicação: $memory MB (acima de 500 MB)"
    elif [ "$memory" -ge 400 ]; then
        say WARNING "Memória da aplicação: $memory MB (acima de 400 MB)"
    else
        say INFO "Memória da aplicação: $memory MB"
    fi
}

check_http() {
    local answer code body seconds
    if timeout 5 nc -z 127.0.0.1 "$PORT" 2>/dev/null; then
        say INFO "Porta $PORT: aberta"
    else
        say ERROR "Porta $PORT: fechada"
        return
    fi
    answer=$(curl -s -m 5 --max-filesize 65536 -w '\n%{http_code} %{time_total}' "http://127.0.0.1:$PORT/api/health")
    body=${answer%$'\n'*}
    read -r code seconds <<<"${answer##*$'\n'}"
    if [ "$code" != 200 ] || [[ $body != *'"status":"ok"'* ]]; then
        say ERROR "Health endpoint: HTTP $code"
    elif [[ $body != *'"database":"connected"'* ]]; then
        say ERROR "Health endpoint: banco de dados não conectado"
    else
        say INFO "Health endpoint: HTTP 200 em ${seconds} s"
    fi
}

check_host() {
    local memory disk cpu
    memory=$(free | awk '/^Mem:/ { printf "%d", 100 - 100 * $7 / $2 }')
    disk=$(df -P . | awk 'NR == 2 { print int($5) }')
    cpu=$(timeout 10 top -bn1 | awk '/^%?Cpu/ { sub(/.*ni, */, ""); printf "%d", 100 - $1; exit }')
    say "$(level "${memory:-0}" 90)" "Memória do servidor: $memory%"
    say "$(level "${disk:-0}" 90)" "Disco: $disk%"
    say "$(level "${cpu:-0}" 80)" "CPU: $cpu%"
}

look() {
    PROBLEMS=0
    check_pm2
    check_http
    check_host
    if [ "$PROBLEMS" -eq 0 ]; then
        say INFO 'Sistema: SAUDÁVEL'
    else
        say ERROR 'Sistema: NÃO SAUDÁVEL'
        return 1
    fi
}

mkdir -p logs
case ${1:-} in
    '') look ;;
    --continuous) while true; do look; sleep "$INTERVAL"; done ;;
    *) echo "usage: $0 [--continuous]" >&2; exit 2 ;;
esac
