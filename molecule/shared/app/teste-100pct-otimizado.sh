#!/usr/bin/env bash
# The application's own test suite: 28 checks of the running system. Needs pm2, jq, nc and curl.
# The exit status is 0 whatever the result, as the real suite's is: only the two last lines tell.
set -u
cd "$(dirname "$(readlink -f "$0")")" || exit 0
export LC_ALL=C

PORT=$(sed -n 's/^PORT=//p' .env 2>/dev/null | tail -n 1)
PORT=${PORT:-3001}
URL=http://127.0.0.1:$PORT
GREEN=$'\e[0;32m' RED=$'\e[0;31m' BOLD=$'\e[1m' PLAIN=$'\e[0m'
PASSED=0
FAILED=0

check() { # title command...: passes when the command does
    local title=$1
    shift
    if "$@" >/dev/null 2>&1; then
        PASSED=$((PASSED + 1))
        echo "${GREEN}✓${PLAIN} $title"
    else
        FAILED=$((FAILED + 1))
        echo "${RED}✗${PLAIN} $title"
    fi
}

get() { curl -s -m 5 "$URL$1"; }
code() { [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "${@:2}")" = "$1" ]; }
matches() { jq -e "$2" <<<"$1"; }
list() { matches "$(get "/api/trpc/$1.list?input=%7B%22limit%22:50%7D")" ".result.data | length >= $2"; }
call() { curl -s -m 5 -H 'Content-Type: application/json' -d "$2" "$URL/api/trpc/$1"; }
round_trip() { # a prompt is created, read back and deleted
    local id
    id=$(call prompt.create '{"userId": 1, "title": "Teste automático", "content": "ação 🚀"}' |
        jq -e .result.data.id) || return 1
    matches "$(get "/api/trpc/prompt.get?input=%7B%22id%22:$id%7D")" '.result.data.content == "ação 🚀"' || return 1
    matches "$(call prompt.delete "{\"id\": $id}")" ".result.data.id == $id" || return 1
    code 404 "$URL/api/trpc/prompt.get?input=%7B%22id%22:$id%7D"
}
daemon_is_users() {
    [ "$(ps -o user= -p "$(cat "${PM2_HOME:-$HOME/.pm2}/pm2.pid")")" = "$(id -un)" ] && [ "$(id -u)" -ne 0 ]
}
ecosystem_is_valid() {
    node -e 'process.exit(require("./ecosystem.config.cjs").apps[0].name === "orquestrador-v3" ? 0 : 1)'
}

HEALTH=$(get /api/health)
STATS=$(get /api/trpc/system.stats)
PROCESSES=$(timeout 15 pm2 jlist 2>/dev/null | grep '^\[' | tail -n 1 |
    jq -c '[.[] | select(.name == "orquestrador-v3")]')

echo "${BOLD}Arquivos${PLAIN}"
check '.env existe com modo 600' test "$(stat -c %a .env 2>/dev/null)" = 600
check 'ecosystem.config.cjs é válido' ecosystem_is_valid
check 'Build do servidor existe' test -s dist/server/index.js
check 'Build do frontend existe' test -s dist/public/index.html
check 'Dependências instaladas' test -s node_modules/express/package.json
check 'Diretório de logs gravável' test -w logs
check 'Diretórios de backups e relatórios graváveis' test -w backups -a -w reports

echo "${BOLD}Processo${PLAIN}"
check 'PM2: todas as instâncias online' matches "$PROCESSES" 'length > 0 and all(.[]; .pm2_env.status == "online")'
check 'PM2: memória abaixo de 500 MB' matches "$PROCESSES" 'length > 0 and all(.[]; .monit.memory < 524288000)'
check 'PM2: daemon do usuário da aplicação' daemon_is_users
check 'Porta aberta' timeout 5 nc -z 127.0.0.1 "$PORT"

echo "${BOLD}Health${PLAIN}"
check 'Health: HTTP 200' code 200 "$URL/api/health"
check 'Health: status ok' matches "$HEALTH" '.status == "ok"'
check 'Health: banco conectado' matches "$HEALTH" '.database == "connected"'
check 'Health: sistema saudável' matches "$HEALTH" '.system == "healthy"'
check 'Health: responde em menos de 2 s' curl -s -m 2 -o /dev/null "$URL/api/health"

echo "${BOLD}Frontend e API${PLAIN}"
check 'Frontend: página inicial' grep -q '<title>Orquestrador' <<<"$(get /)"
check 'Frontend: JavaScript' code 200 "$URL/assets/main.js"
check 'API: rota desconhecida responde 404' code 404 "$URL/api/nao-existe"
check 'API: procedimento desconhecido responde 404' code 404 "$URL/api/trpc/prompt.explode"
check 'API: entrada inválida responde 400' code 400 "$URL/api/trpc/prompt.get?input=%7B%22id%22:%22x%22%7D"

echo "${BOLD}Dados${PLAIN}"
check 'Banco: 48 tabelas' matches "$STATS" '.result.data.tables == 48'
check 'Dados: user' list user 50
check 'Dados: project' list project 40
check 'Dados: aiModel' list aiModel 24
check 'Dados: conversation' list conversation 50
check 'Dados: message' list message 50
check 'Dados: prompt criado, lido e apagado' round_trip

echo
printf 'Testes passados: %s%s/%s%s\n' "$GREEN" "$PASSED" "$((PASSED + FAILED))" "$PLAIN"
printf 'Testes falhados: %s%s/%s%s\n' "$RED" "$FAILED" "$((PASSED + FAILED))" "$PLAIN"
exit 0
