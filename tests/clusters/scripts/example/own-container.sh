#!/bin/bash
# launch 00000000000000000000000000000000
#SBATCH --job-name=jupyterhub-launcher
#SBATCH --output=jupyterlab-%j.log
#SBATCH --partition=normal
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --time=60
#SBATCH --no-requeue
#SBATCH --signal=B:USR1@120
#SBATCH --constraint=gpu
#SBATCH --qos=normal
#SBATCH --gres=gpu:a100:1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --exclusive
#SBATCH --mail-type=FAIL

launch_hub=https://hub.example.org/hub/api
launch_ticket=0000000000000000000000000000000000000000000000000000000000000000

# Tells the hub, for whom it does not wait long. The ticket goes through standard input: an argument list is
# open to every user of the node.
# shellcheck disable=SC2317,SC2329
launch_tell() {
    if command -v curl >/dev/null; then
        printf %s "$1" | LD_LIBRARY_PATH='' LD_PRELOAD='' \
            curl --silent --noproxy '*' --max-time 10 --output /dev/null \
            --cacert /etc/pki/site/hub-ca.pem \
            --header 'Content-Type: application/json' --data-binary @- "$launch_hub/launcher/events"
    elif command -v python3 >/dev/null; then
        printf %s "$1" | LD_LIBRARY_PATH='' LD_PRELOAD='' \
            SSL_CERT_FILE=/etc/pki/site/hub-ca.pem python3 -I -c '
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.stdin.buffer.read(), {"Content-Type": "application/json"})
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10)
' "$launch_hub/launcher/events" 2>/dev/null
    fi
}

# The hub learns at once that the script ended, however it ended.
# shellcheck disable=SC2317,SC2329
launch_ended() {
    local code=$?
    { set +x; } 2>/dev/null # no ticket in the log
    trap - EXIT
    set +eu
    launch_tell "{\"ticket\":\"$launch_ticket\",\"job_id\":\"${SLURM_JOB_ID:-}\",\"exit_code\":$code}"
    # In a shell of its own, so that it can't end this one.
    (
        :
rm -rf "/tmp/session-$SLURM_JOB_ID"
    )
    exit "$code"
}

# Slurm signals only this shell. A signal may come before there is a server, or before its pid is noted.
# shellcheck disable=SC2317,SC2329
launch_signalled() {
    local server="${launch_server:-}"
    if [ -z "$server" ] && [ -n "${launch_before+set}" ] && [ "${!:-}" != "$launch_before" ]; then
        server=$!
    fi
    [ -n "$server" ] || exit 143
    # At TERM, srun kills what it runs. A cancelled job's steps have been told already.
    [ "$1" != TERM ] || { scancel --signal=TERM "$SLURM_JOB_ID" 2>/dev/null; return; }
    kill "-$1" "$server" 2>/dev/null
}

launch_traps() {
    trap launch_ended EXIT
    trap 'launch_signalled TERM' TERM
    trap 'launch_signalled USR1' USR1
}
launch_traps

source /etc/profile.d/modules.sh

# The lines above may have set traps of their own, show each command in the log, which is no place for the
# ticket, and have left something in the background that is not the server.
{ set +x; } 2>/dev/null
trap - ERR DEBUG RETURN
launch_traps
launch_before="${!:-}"

# The server's own Python must not meet what these lines, or a view, have set for the user's: it begins without
# it, and hands it on to kernels. A posix shell reads no BASH_ENV; of those, Bash hands functions on, too.
# shellcheck disable=SC2016
launch_apart='for launch_name in LD_LIBRARY_PATH LD_PRELOAD TMPDIR PYTHONHOME PYTHONPATH PYTHONNOUSERSITE \
    PYTHONDONTWRITEBYTECODE PYTHONHASHSEED PYTHONINSPECT PYTHONINTMAXSTRDIGITS PYTHONMALLOC PYTHONOPTIMIZE \
    PYTHONPLATLIBDIR PYTHONSTARTUP PYTHONTRACEMALLOC PYTHONUNBUFFERED PYTHONUSERBASE PYTHONUTF8 PYTHONWARNINGS; do
    eval "export LAUNCHER_KEPT_$launch_name=\"\${$launch_name-}\""
    unset "$launch_name"
done
export PYTHONNOUSERSITE=1
exec "$@"'

LAUNCHER_HUB_URL="$launch_hub" LAUNCHER_TICKET="$launch_ticket" LAUNCHER_CLAIM_TIMEOUT=300 \
    LAUNCHER_HUB_CA=/etc/pki/site/hub-ca.pem \
    srun --nodes=1 --ntasks=1 --overlap --cpu-bind=none --export=ALL --environment=/users/someone/image.toml \
    sh -c "$launch_apart" sh \
    /opt/launcher/bin/launcher-singleuser &
launch_server=$!

# `wait` returns when a trap has run; the server's own exit code counts. Of a server that ends in that very
# moment Bash may know none (127) or have lost it (-1): then the signal's stands.
set +e
while :; do
    wait "$launch_server"
    launch_code=$?
    kill -0 "$launch_server" 2>/dev/null && continue
    wait "$launch_server" 2>/dev/null
    launch_again=$?
    case $launch_again in -1 | 127) ;; *) launch_code=$launch_again ;; esac
    break
done
exit "$launch_code"
