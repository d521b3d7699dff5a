"""A mail server for tests: what an address begins with says how its mail is taken.

later@  refused for now at the first try, taken afterwards
never@  refused for good
slow@   taken after two seconds
hang@   no answer at all
Others are taken at once. Each mail taken is a line of JSON on the standard output; the first line is the port.
With three arguments (certificate, key, password) it insists on STARTTLS and on signing in as "alerts".
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

refused_once = set()


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address.startswith("never@"):
            return "550 5.1.1 no such user here"
        if address.startswith("later@") and address not in refused_once:
            refused_once.add(address)
            return "451 4.7.1 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        to = envelope.rcpt_tos[0]
        if to.startswith("slow@"):
            await asyncio.sleep(2)
        if to.startswith("hang@"):
            await asyncio.sleep(3600)
        told = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "data": envelope.content.decode("utf-8", "replace"),
            "tls": session.ssl is not None,
            "authenticated": bool(session.authenticated),
        }
        print(json.dumps(told), flush=True)
        return "250 OK"


def signs_in(password):
    def check(server, session, envelope, mechanism, data):
        good = data.login == b"alerts" and data.password == password.encode()
        return AuthResult(success=good, handled=False)

    return check


def connection():
    if len(sys.argv) < 4:
        return SMTP(Handler(), enable_SMTPUTF8=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    return SMTP(
        Handler(),
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=signs_in(sys.argv[3]),
    )


async def main():
    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
