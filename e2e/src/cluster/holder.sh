# Runs as process 1 of a node, in its own network, mount, PID and host name namespaces, and makes of this machine's files
# those of the node. What the machine has is seen below them; what is written stays in the node's folder.
#   $1 name   $2 folder that outlives a reboot   $3 folder of this boot
set -eu
name=$1 state=$2 boot=$3

mount --make-rprivate /
mount -t proc proc /proc

# A sysfs mounted here shows this network namespace's links. The cgroups stay what they were.
mkdir -p "$boot/cgroup"
mount --rbind /sys/fs/cgroup "$boot/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$boot/cgroup" /sys/fs/cgroup
umount -R -l "$boot/cgroup"
mount -t bpf bpf /sys/fs/bpf

# Mounts of the machine are not the node's: those below are hidden (network namespaces of a lab, say), the others are noted.
awk '$5 ~ "^/run/" {print $5}' /proc/self/mountinfo | sort -r | while read -r path; do
	umount -l "$(printf %b "$path")" || :
done
machine=$(awk '{print $5}' /proc/self/mountinfo)
mount -t tmpfs -o mode=755 tmpfs /run
echo "$machine" >/run/mounts-of-the-machine
mkdir -p /run/lock /run/netns

# What the machine has is seen below, and nothing has to be made on it to hang a mount on. Folders in which the machine may
# have something of the same kind start empty, and lie on a real file system: no overlay mounts on an overlay.
for path in etc opt var/lib var/log; do
	mkdir -p "$state/$path" "$state/.work/$path"
	mount -t overlay -o "lowerdir=/$path,upperdir=$state/$path,workdir=$state/.work/$path" overlay "/$path"
done
for path in etc/cni/net.d etc/kubernetes opt/cni/bin var/lib/containerd var/lib/kubelet var/lib/cni var/lib/beemesh \
	var/log/pods var/log/containers; do
	mkdir -p "$state/own/$path" "/$path"
	mount --bind "$state/own/$path" "/$path"
done
mkdir -p /etc/kubernetes/manifests

# The kubelet writes these, and they are the machine's: plain files take what it writes. A boot has an id of its own.
over() {
	[ -e "/proc/sys/$1" ] || return 0
	mkdir -p "$boot/sys/$(dirname "$1")"
	echo "$2" >"$boot/sys/$1"
	mount --bind "$boot/sys/$1" "/proc/sys/$1"
}
over kernel/panic 10
over kernel/panic_on_oops 1
over vm/overcommit_memory 1
over vm/panic_on_oom 0
over kernel/keys/root_maxkeys 1000000
over kernel/keys/root_maxbytes 25000000
over kernel/random/boot_id "$(cat /proc/sys/kernel/random/uuid)"

hostname "$name"
rm -f /etc/hostname /etc/hosts /etc/resolv.conf /etc/machine-id
echo "$name" >/etc/hostname
printf '127.0.0.1 localhost\n::1 localhost\n' >/etc/hosts
echo "nameserver 192.0.2.53" >/etc/resolv.conf
tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id

# Bidirectional and HostToContainer mounts need it.
mount --make-rshared /
touch "$boot/ready"
# Orphans become children of process 1: `wait` reaps them.
sleep 2147483647 &
wait
