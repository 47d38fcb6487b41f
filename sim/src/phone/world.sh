# Makes the world of a phone and starts its daemon in it. Run by unshare as the first process of namespaces of its own
# for users, mounts, processes and the network; what it mounts is seen by nobody else and goes when it ends.
#
# $1 folder of the phone's files   $2 files that stand for those of the same name in /proc
# $3 file of the measurement turn, or ""   $4 … what starts the daemon
set -eu
root=$1 described=$2 turn=$3
shift 3

# mount_file SOURCE TARGET
mount_file() {
    mount --bind "$1" "$2"
    mount -o remount,bind,ro,nosuid,nodev "$2"
}

mount --bind "$root" "$root"
cd "$root"
# The phone's tools are this machine's, read only: its /system/bin points to them.
for part in bin sbin lib lib32 lib64 libx32 usr; do
    if [ -L "/$part" ]; then
        ln -sfn "$(readlink "/$part")" "$part"
    elif [ -d "/$part" ]; then
        mkdir -p "$part"
        mount --rbind "/$part" "$part"
        mount -o remount,bind,ro,nosuid,nodev "$part"
    fi
done
mount -t proc proc proc
# What would change this machine, where the phone's owner is its root.
for part in bus fs irq sys sysrq-trigger; do
    [ ! -e "proc/$part" ] || mount_file "proc/$part" "proc/$part"
done
(cd "$described" && find . -type f) | while read -r file; do
    [ -e "proc/$file" ] || { echo "this machine's kernel has no /proc/${file#./}" >&2; exit 1; }
    mount_file "$described/$file" "proc/$file"
done
for part in data dev sdcard; do
    mount --bind "$part" "$part"
done
mount -o remount,bind,nosuid,nodev,noexec sdcard
for node in null zero full random urandom tty; do
    : > "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
    mount -o remount,bind,ro,nosuid,noexec "dev/$node"
done
if [ -n "$turn" ]; then
    : > dev/seatrial-turn
    mount --bind "$turn" dev/seatrial-turn
fi
# The program that starts the daemon, wherever it lies on this machine.
: > system/bin/adbd
mount_file "$1" system/bin/adbd
shift
ip link set lo up || ifconfig lo up
# What is not mounted above is as read only as a phone's system.
mount -o remount,bind,ro,nosuid,nodev .

pivot_root . .
umount -l .
cd /
# The daemon and all that it starts are Android's shell user, and may no more than that.
path=$PHONE_PATH
unset PHONE_PATH OLDPWD
exec 3<&0
unshare --user --map-user=2000 --map-group=2000 env PATH="$path" /system/bin/adbd "$@" <&3 3<&- &
exec 3<&- < /dev/null
wait $!
