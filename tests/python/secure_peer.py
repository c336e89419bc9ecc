"""The other end of a secure stream, with TLS from Python's ssl module.

With asyncio's streams, or after some plain text on the same connection (--upgrade) with a blocking
socket. Expects a line, answers with it in capitals; expects 200000 bytes, answers with them in
reverse; expects a part that ends with a zero byte, then the rest to the end. Says what it got.
"""

import argparse
import asyncio
import socket
import ssl

BULK = 200_000


def context(args):
    server = args.listen is not None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_cert_chain(args.cert, args.key)
    made.load_verify_locations(args.peer)
    return made


def split(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def report(part, rest):
    print(f"GOT {len(part)} {len(rest)}", flush=True)


async def talk(reader, writer):
    writer.write((await reader.readline()).upper())
    writer.write((await reader.readexactly(BULK))[::-1])
    await writer.drain()
    part = await reader.readuntil(b"\0")
    report(part, await reader.read())
    writer.close()
    await writer.wait_closed()


async def connect(args):
    reader, writer = await asyncio.open_connection(*split(args.connect), ssl=context(args))
    await talk(reader, writer)


async def listen(args):
    done = asyncio.get_running_loop().create_future()

    async def accepted(reader, writer):
        try:
            await talk(reader, writer)
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)
            raise

    server = await asyncio.start_server(accepted, *split(args.listen), ssl=context(args))
    print(f"LISTENING {server.sockets[0].getsockname()[1]}", flush=True)
    await done


def upgrade(args):
    if args.listen is not None:
        listener = socket.create_server(split(args.listen))
        print(f"LISTENING {listener.getsockname()[1]}", flush=True)
        plain, _ = listener.accept()
        assert plain.recv(100) == b"secured?\n"
        plain.sendall(b"go\n")
    else:
        plain = socket.create_connection(split(args.connect))
        plain.sendall(b"secured?\n")
        assert plain.recv(100) == b"go\n"
    tls = context(args).wrap_socket(plain, server_side=args.listen is not None)
    stream = tls.makefile("rwb")
    stream.write(stream.readline().upper())
    stream.flush()
    stream.write(stream.read(BULK)[::-1])
    stream.flush()
    rest = stream.read()
    part, rest = rest.split(b"\0", 1)
    report(part + b"\0", rest)
    # Their direction has ended, and ours has not: one more word, then the goodbye.
    stream.write(b"one more word")
    stream.flush()
    tls.unwrap().close()


def main():
    parser = argparse.ArgumentParser()
    for option in ("--connect", "--listen", "--cert", "--key", "--peer"):
        parser.add_argument(option)
    parser.add_argument("--upgrade", action="store_true")
    args = parser.parse_args()
    if args.upgrade:
        upgrade(args)
    else:
        asyncio.run(listen(args) if args.listen is not None else connect(args))


main()
