"""Tests of watch.py: what it says of a disk and of certificates, and what it writes."""

import os
import subprocess
import tempfile
import time
import unittest

import watch
from watch import GIB, MIB, Usage


class Said(list[str]):
    """Collects lines."""

    def __call__(self, step: str, status: str, detail: str) -> None:
        self.append(f"{step} {status} {detail}")

    def take(self) -> list[str]:
        """What was said since."""
        taken = list(self)
        self.clear()
        return taken


class DiskTest(unittest.TestCase):
    """A disk of 2 GiB, as full as the test says."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.mount = folder.name
        self.marker, self.grow = os.path.join(folder.name, "disk-full"), os.path.join(folder.name, "disk-grow")
        self.usage: Usage | None = None
        self.said = Said()
        self.free = GIB
        self.disk = self.watcher()

    def watcher(self) -> watch.Disk:
        """As after a start."""
        return watch.Disk(self.mount, self.said, lambda _: self.usage or Usage(2 * GIB, 2 * GIB - self.free, self.free), self.marker, self.grow)

    def look(self, free: int, now: float = 0) -> list[str]:
        """What is said when so much is free."""
        self.free = free
        self.disk.look(now)
        return self.said.take()

    def reserve(self) -> int:
        """Its size on the disk; -1: none."""
        try:
            s = os.lstat(os.path.join(self.mount, ".reserve"))
        except FileNotFoundError:
            return -1
        self.assertEqual(s.st_mode & 0o7777, 0o600)
        self.assertGreaterEqual(s.st_blocks * 512, s.st_size)
        return s.st_size

    def test_sizes(self) -> None:
        for total, reserve, least in ((1 * GIB, 64 * MIB, 32 * MIB), (100 * GIB, GIB, 214748364), (1000 * GIB, 2 * GIB, 2147483648)):
            with self.subTest(total):
                self.assertEqual((watch.reserve_size(total), watch.least_free(total)), (reserve, least))

    def test_nothing_mounted(self) -> None:
        disk = watch.Disk(self.mount, self.said)
        self.assertIsNone(disk.look(0))
        self.assertEqual((self.said, self.reserve()), ([], -1))

    def test_reserve_on_a_disk_with_room(self) -> None:
        self.assertEqual(self.look(GIB), [])
        self.assertEqual(self.reserve(), 64 * MIB)

    def test_no_reserve_on_a_disk_without(self) -> None:
        self.assertEqual(self.look(600 * MIB), [])
        self.assertEqual(self.reserve(), -1)

    def test_reserve_grows_with_the_disk(self) -> None:
        with open(os.path.join(self.mount, ".reserve"), "wb") as file:
            file.write(b"x")
        self.look(GIB)
        self.assertEqual(self.reserve(), 64 * MIB)

    def test_reserve_follows_no_link(self) -> None:
        other = os.path.join(self.mount, "other")
        os.symlink(other, os.path.join(self.mount, ".reserve"))
        self.disk.make_reserve(MIB, 0)
        self.assertFalse(os.path.exists(other))
        self.assertIn("cannot make the reserve of 1 MB", self.said.take()[0])
        self.disk.make_reserve(MIB, 10)
        self.assertEqual(self.said.take(), [])  # not once a second

    def test_levels(self) -> None:
        def percent(p: int) -> int:
            return (100 - p) * 2 * GIB // 100

        for now, p, said in (
            (0, 84, ""), (1, 85, "is 85 % full"), (2, 86, ""), (3, 89, ""), (4, 90, "is 90 % full"), (5, 86, ""), (6, 91, ""),
            (7, 95, "is 95 % full"), (3606, 95, ""), (3607, 95, "is 95 % full"), (3608, 82, ""), (3609, 79, "is 79 % full"),
            (3610, 78, ""), (3611, 86, "is 8"),
        ):
            with self.subTest(now=now, percent=p):
                lines = self.look(percent(p), now)
                self.assertEqual(len(lines), 1 if said else 0, lines)
                if said:
                    self.assertTrue(lines[0].startswith("disk ok " if p < 80 else "disk warn "), lines)
                    self.assertIn(said, lines[0])
                    self.assertEqual("delete data, or make the data disk larger" in lines[0], p >= 80)

    def test_full_and_back(self) -> None:
        self.look(GIB)
        lines = self.look(31 * MIB, 10)
        self.assertEqual(len(lines), 1)
        self.assertIn("disk warn " + self.mount + " is full, 31 MB of 2048 MB are free: gave up the reserve of 64 MB", lines[0])
        self.assertEqual((self.reserve(), os.path.exists(self.marker)), (-1, True))
        # The reserve's own room is not enough, nor is what would not hold it.
        for now, free in ((11, 95), (12, 127), (13, 10)):
            self.assertEqual(self.look(free * MIB, now), [])
            self.assertEqual((self.reserve(), self.disk.full), (-1, True))
        self.disk = self.watcher()  # started again
        self.assertTrue(self.disk.full)
        lines = self.look(1500 * MIB, 14)
        self.assertEqual(len(lines), 1)
        self.assertIn("disk ok " + self.mount + " has room again, 1500 MB of 2048 MB; 64 MB of it are the reserve again", lines[0])
        self.assertEqual((self.reserve(), os.path.exists(self.marker), self.disk.full), (64 * MIB, False, False))
        self.assertEqual(self.look(1500 * MIB, 15), [])

    def test_grows(self) -> None:
        def look(device: int, total: int) -> tuple[bool, list[str]]:
            self.usage = Usage(total, total // 4, 3 * total // 4, device)
            self.disk.look(0)
            asked = os.path.exists(self.grow)
            if asked:
                os.unlink(self.grow)
            return asked, self.said.take()

        for device, total, asked, said in (
            (8, 7, False, ""),  # at the boot it is as large as it can be
            (8, 7, False, ""),
            (20, 7, True, ""),
            (20, 7, False, ""),  # once
            (20, 19, False, "disk ok MOUNT has grown from 7168 MB to 19 GB"),
            (20, 19, False, ""),
            (0, 19, False, ""),  # not known is not smaller
            (20, 19, False, ""),
            (40, 39, True, "disk ok MOUNT has grown from 19 GB to 39 GB"),
        ):
            with self.subTest(device=device, total=total):
                self.assertEqual(look(device * GIB, total * GIB), (asked, [said.replace("MOUNT", self.mount)] if said else []))
                # Within the hour.
                self.assertEqual(self.reserve(), watch.reserve_size(total * GIB))

    def test_device_size(self) -> None:
        self.assertEqual(watch.device_size("/proc"), 0)
        source = subprocess.run(["findmnt", "-n", "-o", "SOURCE", "/"], capture_output=True, text=True, check=True).stdout.strip()
        if os.stat("/").st_dev != (os.stat(source).st_rdev if os.path.exists(source) else -1):
            self.skipTest("the root is on no disk")
        size = subprocess.run(["lsblk", "-b", "-d", "-n", "-o", "SIZE", source], capture_output=True, text=True, check=True).stdout
        self.assertEqual(watch.device_size("/"), int(size))

    def test_full_without_reserve(self) -> None:
        self.assertIn("there is no reserve to give up", self.look(0)[0])
        self.assertTrue(os.path.exists(self.marker))


class CertificatesTest(unittest.TestCase):
    """Certificates that openssl makes here."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.said = Said()
        self.certificates = watch.Certificates([os.path.join(self.folder, "*.crt")], self.said)

    def make(self, name: str, days: int, subject: str = "/CN=node", append: bool = False) -> str:
        """A certificate that is good for so many days."""
        made = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null",
             "-subj", subject, "-days", str(days)], capture_output=True, text=True, check=True).stdout
        path = os.path.join(self.folder, name)
        with open(path, "a" if append else "w", encoding="ascii") as file:
            file.write(made)
        return path

    def test_said_once_a_day(self) -> None:
        path = self.make("node.crt", 40)
        self.make("ca.crt", 3650)
        now = time.time()
        self.assertEqual(len(self.certificates.look(now)), 2)
        day = time.strftime("%Y-%m-%d", time.gmtime(self.certificates.known[1].end))
        want = f"certificates warn {path} (CN=node) ends in 39 days, on {day}: run pgha-gen secrets generate"
        lines = self.said.take()
        self.assertEqual(len(lines), 1)
        self.assertTrue(lines[0].startswith(want), lines)
        self.certificates.look(now + 86399)
        self.assertEqual(self.said.take(), [])
        self.certificates.look(now + 86400)
        self.assertIn("ends in 38 days", self.said.take()[0])
        self.certificates.look(now + 86400 + 3600)
        self.certificates.look(now + 40 * 86400)
        lines = self.said.take()
        self.assertEqual(len(lines), 1)
        self.assertTrue(lines[0].startswith(f"certificates fail {path} (CN=node) ended on {day}: "), lines)

    def test_not_before_sixty_days(self) -> None:
        self.make("node.crt", 61)
        self.certificates.look(time.time())
        self.assertEqual(self.said.take(), [])
        self.certificates.look(time.time() + 2 * 86400)
        self.assertEqual(len(self.said.take()), 1)

    def test_bundle(self) -> None:
        self.make("ca.crt", 3650)
        self.make("ca.crt", 10, append=True)
        found = self.certificates.look(time.time())
        self.assertEqual([c.subject for c in found], ["CN=node"] * 2)
        self.assertNotEqual(found[0].serial, found[1].serial)
        self.assertIn("ends in 9 days", self.said.take()[0])

    def test_replaced(self) -> None:
        self.make("node.crt", 5)
        self.make("other.crt", 5)
        self.certificates.look(time.time())
        self.assertEqual(len(self.said.take()), 2)
        self.make("node.crt", 500)
        self.assertEqual(len(self.certificates.look(time.time())), 2)
        self.assertEqual(self.said.take(), [])
        self.make("other.crt", 500)
        for _ in range(2):
            self.certificates.look(time.time())
        self.assertEqual(self.said.take(), ["certificates ok none ends soon any more"])

    def test_not_a_certificate(self) -> None:
        for text, want in (("", "holds no certificate"), ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds a certificate that cannot be read")):
            with self.subTest(want):
                with open(os.path.join(self.folder, "x.crt"), "w", encoding="ascii") as file:
                    file.write(text)
                self.assertEqual(self.certificates.look(0), [])
                self.certificates.look(1)
                lines = self.said.take()
                self.assertEqual(len(lines), 1)
                self.assertIn(want, lines[0])


class MetricsTest(unittest.TestCase):
    """The text that Prometheus reads; its form has a test of its own, in Go."""

    def test_all(self) -> None:
        got = watch.metrics(
            {"role": "etcd", "node": "demo-etcd-1"}, True,
            [watch.Certificate("/run/a.crt", 'CN="a\\b"', "0A", 1800000000.0)], Usage(2 * GIB, GIB, GIB), 64 * MIB, False,
            {"ready": {"at": 1, "status": "ok", "detail": "x"}, "refresh": {"at": 2, "status": "fail", "detail": "y"}})
        samples = [line for line in got.splitlines() if not line.startswith("#")]
        self.assertEqual(samples, [
            'pgha_info{role="etcd",node="demo-etcd-1"} 1',
            "pgha_ready 1",
            'pgha_certificate_end_timestamp_seconds{file="/run/a.crt",subject="CN=\\"a\\\\b\\"",serial="0A"} 1800000000',
            'pgha_step_failed{step="ready"} 0',
            'pgha_step_failed{step="refresh"} 1',
            "pgha_data_disk_size_bytes 2147483648",
            "pgha_data_disk_free_bytes 1073741824",
            "pgha_data_disk_reserve_bytes 67108864",
            "pgha_data_disk_full 0",
        ])

    def test_without_disk_and_certificates(self) -> None:
        got = watch.metrics({"role": "x"}, False, [], None, 0, False, {})
        self.assertEqual([line for line in got.splitlines() if not line.startswith("#")], ['pgha_info{role="x"} 1', "pgha_ready 0"])
        self.assertNotIn("disk", got)


class BackTest(unittest.TestCase):
    """Services that failed, and were started again."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.units = folder.name

    def started(self, unit: str, at: float) -> None:
        """It runs since then."""
        link = os.path.join(self.units, f"invocation:{unit}")
        os.symlink("0123456789abcdef0123456789abcdef", link)
        os.utime(link, (at, at), follow_symlinks=False)

    def back(self, now: float, **said: object) -> list[str]:
        """Those of these that are back. What they said last was said at 1000 s."""
        lines = {f"{name}.service": {"at": 1000_000, "status": status, "detail": "x"} for name, status in said.items()}
        return watch.back({**lines, "disk": {"at": 1000_000, "status": "wait", "detail": "x"}}, now, self.units)

    def test_goes_on(self) -> None:
        self.started("etcd.service", 990)
        self.started("patroni.service", 1005)
        self.started("pgha-backup.service", 1001)
        self.assertEqual(self.back(1059, etcd="wait"), [])
        self.assertEqual(self.back(1060, etcd="wait"), ["etcd.service"])
        self.assertEqual(self.back(1064, patroni="wait"), [])
        self.assertEqual(self.back(1065, patroni="wait", etcd="ok", **{"pgha-backup": "fail"}), ["patroni.service", "pgha-backup.service"])

    def test_does_not_run(self) -> None:
        self.assertEqual(self.back(5000, etcd="wait"), [])

    def test_said_by_itself(self) -> None:
        self.started("disk", 1001)
        self.assertEqual(self.back(5000), [])


class StepsTest(unittest.TestCase):
    """What the steps said last, as step.sh and step.py write it."""

    def test_steps(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (
                ("ready", "12 ok PostgreSQL: replica streaming\n"), ("refresh.new", "9 ok half"), ("empty", ""), ("odd", "x ok y\n"),
            ):
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(text)
            self.assertEqual(watch.steps(folder), {"ready": {"at": 12, "status": "ok", "detail": "PostgreSQL: replica streaming"}})

    def test_none(self) -> None:
        self.assertEqual(watch.steps("/nowhere"), {})


if __name__ == "__main__":
    unittest.main()
