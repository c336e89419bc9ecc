#!/usr/bin/env python3
"""A peer that speaks the `tlsstream` dialect, for tests.

The sender writes a message as its length in ASCII decimal, `!`, and its bytes; the receiver answers
`OK!`; one message is in flight at a time. Either end may be the one that connects. Needs Python
3.8 or newer and nothing besides its standard library.

    tlsstream_peer.py recv --listen 127.0.0.1:0 --out got.bin
    tlsstream_peer.py send --connect 127.0.0.1:4000 --messages some.bin

Files of messages hold, for each, its length (8 bytes, the most significant first) and its bytes.

With --key, --cert and --peer: TLS 1.3, both ends present certificates, the other's has to be the
one in --peer. Certificates are held to X.509's letter (VERIFY_X509_STRICT). A self-signed version 3
certificate can be pinned as it is, CA or not; with an extended key usage, it needs clientAuth to
connect and serverAuth to listen. One that somebody else has issued is no end of a chain for
OpenSSL: to pin it by itself needs --partial-chain (VERIFY_X509_PARTIAL_CHAIN, Python 3.10 or
newer).

Standard output is for programs: `LISTENING port`, then `CONFIRMED n` or `RECEIVED n`, or for --raw
`ANSWERED hex`. The exit code is 0 only if everything went as expected; otherwise one line on
standard error says what did not. 2 means the arguments were wrong.
"""

import argparse
import asyncio
import socket
import ssl
import sys

CONFIRMATION = b"OK!"

# More digits than any maximum message size has.
MAX_LENGTH_DIGITS = 20

# How many bytes a length takes in a file of messages.
PREFIX = 8


class PeerError(Exception):
    """Something was not as expected; the text says what."""


def read_messages(path):
    """The messages in a file of length-prefixed messages."""
    with open(path, "rb") as file:
        data = file.read()
    messages = []
    at = 0
    while at < len(data):
        start = at + PREFIX
        length = int.from_bytes(data[at:start], "big")
        if start > len(data) or length > len(data) - start:
            raise PeerError(f"{path}: the message at byte {at} is incomplete")
        messages.append(data[start : start + length])
        at = start + length
    return messages


def tls_context(args):
    """The TLS context that the arguments ask for, or None for plain transport."""
    if args.key is None:
        return None
    server = args.listen is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if args.partial_chain:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_cert_chain(args.cert, args.key)
    context.load_verify_locations(args.peer)
    return context


async def read_length(reader, max_message):
    """The length of the next message, or None if the sender closed between two messages."""
    digits = b""
    while True:
        byte = await reader.read(1)
        if byte == b"!":
            break
        if not byte and not digits:
            return None
        if not byte:
            raise PeerError(f"the sender closed inside a length, after {digits!r}")
        digits += byte
        # Said at the first wrong byte: a sender that has no `!` to send would be waited for.
        if byte not in b"0123456789" or len(digits) > MAX_LENGTH_DIGITS:
            raise PeerError(f"{digits!r} is not a length")
    if not digits:
        raise PeerError("a message without a length")
    length = int(digits)
    if length == 0:
        raise PeerError("a message of length zero, which this dialect does not have")
    if length > max_message:
        raise PeerError(f"a message of {length} bytes is above the maximum of {max_message}")
    return length


async def read_payload(reader, length, original):
    """The payload; with `original`, what a single read gives, which may be less."""
    if original:
        return await reader.read(length)
    try:
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        got = len(error.partial)
        raise PeerError(f"the sender closed after {got} of {length} bytes") from error


async def receive(reader, writer, args):
    """Takes messages until the sender closes, or until the faults asked for end it."""
    received = 0
    confirmation = CONFIRMATION if args.confirm is None else args.confirm.encode()
    try:
        with open(args.out, "wb") as out:
            while received != args.drop_after:
                length = await read_length(reader, args.max_message)
                if length is None:
                    break
                payload = await read_payload(reader, length, args.original_read)
                received += 1
                out.write(len(payload).to_bytes(PREFIX, "big") + payload)
                if received != args.drop_after:
                    await asyncio.sleep(args.confirm_delay)
                    writer.write(confirmation)
                    await writer.drain()
    except ConnectionError:
        # A sender that was answered with something else may leave as abruptly as it likes.
        if args.confirm is None:
            raise
    finally:
        print(f"RECEIVED {received}", flush=True)
    if args.drop_after is not None and received < args.drop_after:
        raise PeerError(f"the sender closed before message {args.drop_after}")


async def send(reader, writer, args):
    """Sends the messages one at a time, each after the one before was confirmed."""
    confirmed = 0
    try:
        for message in args.to_send:
            # One write, so that a message of up to a TLS record goes as one record.
            writer.write(b"%d!" % len(message) + message)
            await writer.drain()
            await expect_confirmation(reader)
            confirmed += 1
    except asyncio.IncompleteReadError as error:
        about = f"message {confirmed + 1}, after {error.partial!r}"
        raise PeerError(f"the receiver closed instead of confirming {about}") from error
    except ConnectionError as error:
        about = f"message {confirmed + 1}: {error}"
        raise PeerError(f"the receiver closed instead of confirming {about}") from error
    finally:
        print(f"CONFIRMED {confirmed}", flush=True)


async def expect_confirmation(reader):
    """Waits for a confirmation, no longer than it takes to see that it is none."""
    answer = b""
    while answer != CONFIRMATION:
        answer += await reader.readexactly(1)
        if not CONFIRMATION.startswith(answer):
            raise PeerError(f"a message was answered with {answer!r}")


async def send_raw(reader, writer, args):
    """Sends bytes as they are and reports what was answered."""
    reading = asyncio.ensure_future(read_answer(reader, args.answer))
    try:
        writer.write(args.to_send)
        await writer.drain()
        # TLS connections of asyncio can't end in one direction only.
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        # The other end may close as soon as it has seen enough (write_eof then says "not
        # connected"); what it answered is still of interest.
        pass
    print(f"ANSWERED {(await reading).hex()}", flush=True)


async def read_answer(reader, wanted):
    """As many bytes as wanted, or all until the other end closes, however it does that."""
    answer = b""
    try:
        while wanted is None or len(answer) < wanted:
            chunk = await reader.read(65536 if wanted is None else wanted - len(answer))
            if not chunk:
                break
            answer += chunk
    except (ConnectionError, ssl.SSLError):
        pass
    return answer


async def converse(reader, writer, args):
    """What this end does with its connection."""
    try:
        if args.mode == "recv":
            await receive(reader, writer, args)
        elif args.raw is not None:
            await send_raw(reader, writer, args)
        else:
            await send(reader, writer, args)
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except (OSError, ssl.SSLError):
            pass  # The conversation is over; how the other end left has been judged by now.


async def connect(args, context):
    """Is the end that connects."""
    host, port = args.connect
    name = host if context else None
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
    await converse(reader, writer, args)


async def listen(args, context):
    """Is the end that is connected to, once.

    Accepts by hand: asyncio's own servers keep a failed handshake to themselves.
    """
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in args.listen[0] else socket.AF_INET
    with socket.create_server(args.listen, family=family) as listener:
        listener.setblocking(False)
        print(f"LISTENING {listener.getsockname()[1]}", flush=True)
        connection, _ = await loop.sock_accept(listener)
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=context)
    await converse(reader, asyncio.StreamWriter(transport, protocol, reader, loop), args)


def address(text):
    """HOST:PORT, with brackets around an IPv6 address."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def whole(text):
    """A whole number."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def positive(text):
    """A whole number above zero."""
    number = whole(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is not above zero")
    return number


def parser():
    """The arguments."""
    common = argparse.ArgumentParser(add_help=False)
    end = common.add_mutually_exclusive_group(required=True)
    end.add_argument("--connect", type=address, metavar="HOST:PORT")
    end.add_argument("--listen", type=address, metavar="HOST:PORT", help="port 0: any free one")
    tls = common.add_argument_group("TLS; without all three, the transport is plain")
    tls.add_argument("--key", metavar="FILE", help="own private key, PEM")
    tls.add_argument("--cert", metavar="FILE", help="own certificate, PEM")
    tls.add_argument("--peer", metavar="FILE", help="the other end's certificate, PEM")
    tls.add_argument(
        "--partial-chain",
        action="store_true",
        help="accept a pinned certificate that is not self-signed (Python 3.10 or newer)",
    )

    top = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    modes = top.add_subparsers(dest="mode", required=True)

    sender = modes.add_parser("send", parents=[common], help="be the sender")
    what = sender.add_mutually_exclusive_group(required=True)
    what.add_argument("--messages", metavar="FILE", help="length-prefixed messages to send")
    what.add_argument("--raw", metavar="FILE", help="bytes to send as they are")
    sender.add_argument(
        "--answer",
        type=whole,
        metavar="BYTES",
        help="with --raw: close once that many were answered (without it, when the other closes)",
    )

    receiver = modes.add_parser("recv", parents=[common], help="be the receiver")
    receiver.add_argument("--out", metavar="FILE", required=True, help="where messages go")
    receiver.add_argument("--max-message", type=positive, default=1 << 30, metavar="BYTES")
    receiver.add_argument(
        "--original-read",
        action="store_true",
        help="take what a single read gives for the whole payload, as the original does",
    )
    faults = receiver.add_argument_group("faults, for tests of the sender")
    faults.add_argument("--confirm", metavar="TEXT", help="instead of OK!, or nothing if empty")
    faults.add_argument("--confirm-delay", type=float, default=0.0, metavar="SECONDS")
    faults.add_argument(
        "--drop-after", type=positive, metavar="N", help="close instead of confirming message N"
    )
    return top


def checked(top):
    """The arguments, with what they only mean together, and the input read."""
    args = top.parse_args()
    credentials = (args.key, args.cert, args.peer)
    if None in credentials and any(credentials):
        top.error("--key, --cert and --peer go together")
    if args.partial_chain and args.key is None:
        top.error("--partial-chain is about TLS: it needs --key, --cert and --peer")
    if args.partial_chain and not hasattr(ssl, "VERIFY_X509_PARTIAL_CHAIN"):
        top.error("--partial-chain needs Python 3.10 or newer")
    if args.mode == "send":
        if args.answer is not None and args.raw is None:
            top.error("--answer is about --raw")
        if args.messages is not None:
            args.to_send = read_messages(args.messages)
        else:
            with open(args.raw, "rb") as file:
                args.to_send = file.read()
    return args


def main():
    """Runs the peer and says in one line what was not as expected."""
    try:
        args = checked(parser())
        context = tls_context(args)
        asyncio.run((connect if args.connect else listen)(args, context))
    except (PeerError, OSError) as error:
        print(f"tlsstream_peer: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
