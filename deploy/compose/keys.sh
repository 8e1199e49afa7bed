#!/bin/sh
# The keys of this installation: made once, kept in the volume `keys`, read by every service as the `.env` of its working
# folder. `sh keys.sh show` prints the operator's key.
set -eu
folder=${KEYS:-/keys}
file=$folder/.env

random() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

make() {
    admin=$(random)
    fleet=$(random)
    cat <<ENV
# The operator's key, and the one that commands in these containers show.
TIDEWIRE_ADMIN_KEY=$admin
TIDEWIRE_API_KEY=$admin
# What the fleet's agent shows to its controller and to its worker.
TIDEWIRE_AGENT_API_KEY=$fleet
CONTROLLER_API_KEY=$fleet
WORKER_API_KEY=$fleet
# Seals the access keys of sites in the store.
TIDEWIRE_SITES_KEY=$(random)
ENV
}

case ${1:-make} in
    make)
        if [ ! -s "$file" ]; then
            umask 077
            # Beside its place and then into it: half a file must never be read.
            make >"$file.new"
            chown "${OWNER:-65532:65532}" "$file.new"
            mv "$file.new" "$file"
            echo "made the keys of this installation"
        fi
        ;;
    show)
        sed -n 's/^TIDEWIRE_ADMIN_KEY=//p' "$file"
        ;;
    *)
        echo "usage: keys.sh [make|show]" >&2
        exit 2
        ;;
esac
