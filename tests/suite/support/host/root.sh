# Makes a Debian root into that of a host on which the registry is installed: systemd, a network,
# a firewall, SSH and podman. Runs inside the root, with the network of the machine that makes it.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o Acquire::Retries=3 update
apt-get -q -o Acquire::Retries=3 install --yes --no-install-recommends \
    systemd systemd-sysv dbus iproute2 netbase openssh-server sudo firewalld polkitd \
    podman curl ca-certificates
apt-get clean
rm -rf /var/lib/apt/lists/*

# Tests start what they need.
systemctl --quiet disable ssh firewalld podman.service podman.socket podman-restart.service \
    podman-auto-update.service podman-auto-update.timer
# Whatever runs by the clock would change the host under a test, and nobody sits at its console.
systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer \
    console-getty.service getty@tty1.service

# The network is the host's own affair, as it is on a real one, so it is there at every boot. What
# would only cost seconds is off: nobody else can have these addresses.
systemctl --quiet enable systemd-networkd
cat >/etc/systemd/network/eth0.network <<'END'
[Match]
Name=eth0

[Network]
Address=192.0.2.1/24
LinkLocalAddressing=no
IPv6AcceptRA=no

[Address]
Address=2001:db8::1/64
DuplicateAddressDetection=none
END
echo mirror.example.com >/etc/hostname
cat >/etc/hosts <<'END'
127.0.0.1 localhost
::1 localhost
192.0.2.1 mirror.example.com mirror
2001:db8::1 mirror.example.com mirror
END
# There is no name server, and asking for one ends at once.
: >/etc/resolv.conf

# podman without layers of file systems below those that the host itself lies on.
cat >/etc/containers/storage.conf <<'END'
[storage]
driver = "vfs"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
END
cat >/etc/containers/containers.conf <<'END'
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
END

# All hosts are the same, so that what was done to two of them can be compared file by file.
echo 5f0c2d7a9b1e4c3f8a6d0e2b4c6f8a1d >/etc/machine-id
# The journal outlives the host, for the test that failed.
mkdir -p /var/log/journal
