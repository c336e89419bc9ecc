"""Both ends of tlsstream_peer.py talk to each other, in processes of their own.

    python3 -m unittest discover tests/python

Needs the `openssl` program for the certificates.
"""

import os
import ssl
import subprocess
import sys
import tempfile
import unittest

PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tlsstream_peer.py")

# No event of a test comes later than this; it only keeps a broken peer from blocking for ever.
STUCK = 60


def make_identity(folder, name, *options):
    """A P-256 certificate that is no CA, and its key; self-signed unless the options say more."""
    key, cert = os.path.join(folder, name + ".key"), os.path.join(folder, name + ".crt")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=" + name, "-keyout", key, "-out", cert]
    # Given a configuration, openssl adds what is in there; given none, its own CA:TRUE.
    config = os.path.join(folder, "openssl.cnf")
    with open(config, "w") as file:
        file.write("[req]\ndistinguished_name = name\nx509_extensions = leaf\n[name]\n")
        file.write("[leaf]\nbasicConstraints = critical,CA:FALSE\n")
        file.write("keyUsage = critical,digitalSignature\n")
        file.write("[authority]\nbasicConstraints = critical,CA:TRUE\n")
        file.write("keyUsage = critical,keyCertSign\nsubjectKeyIdentifier = hash\n")
    command += ["-config", config, *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return key, cert


def issue(folder, name, authority):
    """A certificate that an authority has issued, and its key."""
    key, cert = make_identity(folder, name)
    request = os.path.join(folder, name + ".csr")
    extensions = os.path.join(folder, "issued.ext")
    with open(extensions, "w") as file:
        file.write("basicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n")
        file.write("subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n")
    ask = ["openssl", "req", "-new", "-key", key, "-subj", "/CN=" + name, "-out", request]
    sign = ["openssl", "x509", "-req", "-in", request, "-days", "2", "-set_serial", "7"]
    sign += ["-CAkey", authority[0], "-CA", authority[1], "-extfile", extensions, "-out", cert]
    for command in (ask, sign):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return key, cert


def pack(messages):
    """Messages as they stand in a file."""
    return b"".join(len(message).to_bytes(8, "big") + message for message in messages)


class Peer:
    """One end, as a process."""

    def __init__(self, *arguments):
        command = [sys.executable, PEER, *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # After end() there is nothing left to do here.
        self.process.kill()
        self.process.communicate()

    def port(self):
        """The port that it says it listens on."""
        line = self.process.stdout.readline().split()
        assert line[:1] == ["LISTENING"], self.process.communicate(timeout=STUCK)
        return int(line[1])

    def end(self):
        """Its exit code, the rest of its output and its errors."""
        out, errors = self.process.communicate(timeout=STUCK)
        return self.process.returncode, out.strip(), errors.strip()


class Pairs(unittest.TestCase):
    """Two ends, of which the tests choose the arguments."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.out = os.path.join(self.folder, "out")

    def file(self, name, content):
        """A file for an end to read."""
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def run_pair(self, listening, connecting):
        """How both ends ended, the listening one first."""
        with Peer(listening[0], "--listen", "127.0.0.1:0", *listening[1:]) as server:
            to = f"127.0.0.1:{server.port()}"
            with Peer(connecting[0], "--connect", to, *connecting[1:]) as client:
                ended = client.end()
                return server.end(), ended

    def transfer(self, messages, recv=(), send=(), listener="recv"):
        """How receiver and sender ended."""
        receiving = ["recv", "--out", self.out, *recv]
        sending = ["send", "--messages", self.file("messages", pack(messages)), *send]
        if listener == "recv":
            return self.run_pair(receiving, sending)
        return self.run_pair(sending, receiving)[::-1]

    def answer_to(self, raw, *recv):
        """How a receiver ended that was sent these bytes, and what it answered."""
        sending = ["send", "--raw", self.file("raw", raw)]
        received, (code, out, errors) = self.run_pair(["recv", "--out", self.out, *recv], sending)
        self.assertEqual((code, errors), (0, ""))
        word, _, answer = out.partition(" ")
        self.assertEqual(word, "ANSWERED")
        return received, bytes.fromhex(answer)

    def assert_out(self, messages):
        """The receiver has written exactly these."""
        with open(self.out, "rb") as file:
            self.assertEqual(file.read(), pack(messages))


MESSAGES = [b"a", b"12!34", b"OK!", bytes(range(256)) * 63, b"\0" * 3_000_000]


class Plain(Pairs):
    """Without TLS."""

    def test_every_message_arrives_whichever_end_listens(self):
        for listener in ("recv", "send"):
            with self.subTest(listener=listener):
                received, sent = self.transfer(MESSAGES, listener=listener)
                self.assertEqual(received, (0, "RECEIVED 5", ""))
                self.assertEqual(sent, (0, "CONFIRMED 5", ""))
                self.assert_out(MESSAGES)

    def test_no_messages_are_no_error(self):
        received, sent = self.transfer([])
        self.assertEqual((received, sent), ((0, "RECEIVED 0", ""), (0, "CONFIRMED 0", "")))

    def test_another_confirmation_ends_the_sender(self):
        for text in ("NO", "ok!", "OK?"):
            with self.subTest(text=text):
                received, sent = self.transfer(
                    [b"one", b"two"], recv=["--confirm", text, "--drop-after", "2"]
                )
                self.assertEqual(sent[:2], (1, "CONFIRMED 0"))
                self.assertEqual(received[:2], (1, "RECEIVED 1"))

    def test_a_late_confirmation_is_waited_for(self):
        received, sent = self.transfer([b"one", b"two"], recv=["--confirm-delay", "0.01"])
        self.assertEqual((received[0], sent), (0, (0, "CONFIRMED 2", "")))

    def test_a_receiver_can_leave_without_confirming(self):
        received, sent = self.transfer([b"one", b"two", b"three"], recv=["--drop-after", "2"])
        self.assertEqual(received, (0, "RECEIVED 2", ""))
        self.assertEqual(sent[:2], (1, "CONFIRMED 1"))
        self.assertIn("instead of confirming message 2", sent[2])
        self.assert_out([b"one", b"two"])

    def test_raw_bytes_go_as_they_are(self):
        received, answer = self.answer_to(b"3!one007!leading")
        self.assertEqual((received, answer), ((0, "RECEIVED 2", ""), b"OK!OK!"))
        self.assert_out([b"one", b"leading"])

    def test_what_is_no_message_is_refused(self):
        table = [
            (b"+3!one", "not a length"),
            (b" 3!one", "not a length"),
            (b"1_0!0123456789", "not a length"),
            (b"!one", "without a length"),
            (b"0!", "length zero"),
            (b"9" * 21, "not a length"),
            (b"11!", "above the maximum"),
            (b"3", "inside a length"),
            (b"3!on", "after 2 of 3 bytes"),
        ]
        for raw, text in table:
            with self.subTest(raw=raw):
                received, answer = self.answer_to(b"2!ok" + raw, "--max-message", "10")
                self.assertEqual(received[:2], (1, "RECEIVED 1"))
                self.assertIn(text, received[2])
                self.assertEqual(len(received[2].splitlines()), 1)
                self.assertEqual(answer, b"OK!")

    def test_a_single_read_takes_a_part_for_the_whole(self):
        # More than the receiver buffers, so no single read can have all of it.
        length = 4_000_000
        raw = b"%d!" % length + b"x" * length
        received, _ = self.answer_to(raw, "--original-read")
        self.assertEqual(received[:2], (1, "RECEIVED 1"))
        self.assertIn("not a length", received[2])
        self.assertLess(os.path.getsize(self.out), length)

    def test_wrong_arguments_and_files_are_told_apart(self):
        short = self.file("short", b"\0\0\0\0\0\0\0\x05four")
        with Peer("send", "--connect", "127.0.0.1:1", "--messages", short) as peer:
            end = peer.end()
        self.assertEqual(end[0], 1)
        self.assertIn("incomplete", end[2])
        with Peer("recv", "--listen", "127.0.0.1:0", "--out", self.out, "--key", "key") as peer:
            end = peer.end()
        self.assertEqual(end[0], 2)
        self.assertIn("go together", end[2])


class Tls(Pairs):
    """With TLS: `alice` listens, `bob` connects, and nobody has pinned `eve`."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        names = ("alice", "bob", "eve")
        cls.identities = {name: make_identity(folder.name, name) for name in names}
        authority = make_identity(folder.name, "authority", "-extensions", "authority")
        for name in ("issued-alice", "issued-bob"):
            cls.identities[name] = issue(folder.name, name, authority)

    def flags(self, own, peer):
        """The arguments of an end with this identity and that pin."""
        key, cert = self.identities[own]
        return ["--key", key, "--cert", cert, "--peer", self.identities[peer][1]]

    def test_every_message_arrives_whichever_end_listens(self):
        alice, bob = self.flags("alice", "bob"), self.flags("bob", "alice")
        for listener in ("recv", "send"):
            with self.subTest(listener=listener):
                recv, send = (alice, bob) if listener == "recv" else (bob, alice)
                received, sent = self.transfer(MESSAGES, recv, send, listener)
                self.assertEqual(received, (0, "RECEIVED 5", ""))
                self.assertEqual(sent, (0, "CONFIRMED 5", ""))
                self.assert_out(MESSAGES)

    def test_up_to_a_record_a_single_read_is_enough(self):
        messages = [b"x" * length for length in (1, 100, 16 * 1024 - len(b"16384!"))] * 20
        alice, bob = self.flags("alice", "bob"), self.flags("bob", "alice")
        received, sent = self.transfer(messages, [*alice, "--original-read"], bob)
        self.assertEqual((received[0], sent[0]), (0, 0), (received, sent))
        self.assert_out(messages)

    def test_raw_bytes_are_answered_until_enough_came(self):
        raw = self.file("raw", b"3!one3!two")
        sending = ["send", "--raw", raw, "--answer", "6", *self.flags("bob", "alice")]
        receiving = ["recv", "--out", self.out, *self.flags("alice", "bob")]
        received, sent = self.run_pair(receiving, sending)
        self.assertEqual(received, (0, "RECEIVED 2", ""))
        self.assertEqual(sent, (0, "ANSWERED " + b"OK!OK!".hex(), ""))

    def test_nobody_talks_to_a_stranger(self):
        for alice, bob in (("eve", "alice"), ("bob", "eve")):
            with self.subTest(alice_pins=alice, bob_pins=bob):
                received, sent = self.transfer(
                    [b"secret"], self.flags("alice", alice), self.flags("bob", bob)
                )
                self.assertEqual((received[0], sent[0]), (1, 1))
                self.assertEqual(len(received[2].splitlines()), 1, received)
                self.assertEqual(len(sent[2].splitlines()), 1, sent)
                self.assertFalse(os.path.exists(self.out) and os.path.getsize(self.out))

    def test_a_plain_peer_gets_nothing(self):
        received, sent = self.transfer([b"secret"], self.flags("alice", "bob"))
        self.assertEqual((received[0], sent[0]), (1, 1))

    @unittest.skipUnless(hasattr(ssl, "VERIFY_X509_PARTIAL_CHAIN"), "needs Python 3.10")
    def test_a_certificate_of_an_authority_needs_partial_chain(self):
        alice = self.flags("issued-alice", "issued-bob")
        bob = self.flags("issued-bob", "issued-alice")
        received, sent = self.transfer([b"one"], alice, bob)
        self.assertEqual((received[0], sent[0]), (1, 1), (received, sent))
        partial = ["--partial-chain"]
        received, sent = self.transfer([b"one"], alice + partial, bob + partial)
        self.assertEqual((received[0], sent[0]), (0, 0), (received, sent))
        self.assert_out([b"one"])


if __name__ == "__main__":
    unittest.main()
