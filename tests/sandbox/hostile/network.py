"""Sockets of every family."""

from hostile.case import AC, CALL, EASY, RE, Hostile, number

DENIED = "PermissionError"
FAMILIES = (
    ("inet", "AF_INET, TCP", 2, 1, 0), ("inet-udp", "AF_INET, UDP", 2, 2, 0),
    ("inet-raw", "AF_INET, raw ICMP", 2, 3, 1), ("inet-ping", "AF_INET, ping", 2, 2, 1),
    ("inet6", "AF_INET6", 10, 1, 0), ("unix", "AF_UNIX, stream", 1, 1, 0),
    ("unix-datagram", "AF_UNIX, datagrams", 1, 2, 0), ("netlink", "AF_NETLINK", 16, 3, 0),
    ("netlink-uevent", "AF_NETLINK, kernel events", 16, 3, 15),
    ("packet", "AF_PACKET", 17, 3, 768), ("vsock", "AF_VSOCK, to the host", 40, 1, 0),
    ("alg", "AF_ALG, the kernel's ciphers", 38, 5, 0), ("bluetooth", "AF_BLUETOOTH", 31, 3, 1),
    ("can", "AF_CAN", 29, 3, 1), ("tipc", "AF_TIPC", 30, 4, 0), ("xdp", "AF_XDP", 44, 3, 0),
    ("rds", "AF_RDS", 21, 5, 0), ("qrtr", "AF_QIPCRTR", 42, 2, 0), ("key", "AF_KEY", 15, 3, 2),
    ("smc", "AF_SMC", 43, 1, 0), ("unspecified", "AF_UNSPEC", 0, 0, 0),
)  # fmt: skip


def refused(name: str, attack: str, source: str, says: str = DENIED) -> Hostile:
    return Hostile(name, attack, source, "PermissionError", RE, says=says)


CASES = (
    *(refused(f"socket-{name}", f"a socket: {attack}",
              f"import socket\nsocket.socket({a}, {b}, {c})\nprint('broke out')")
      for name, attack, a, b, c in FAMILIES),
    refused("socket-raw-call", "socket() by number",
            CALL + f"call({number('socket')}, 2, 1, 0)\nprint('broke out')"),
    refused("connect", "connects to an address outside",
            "import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=0.3)"),
    refused("connect-loopback", "a server and a client on 127.0.0.1",
            "import socket\ns = socket.create_server(('127.0.0.1', 0))\n"
            "socket.create_connection(s.getsockname(), timeout=0.3)\nprint('ok')"),
    refused("connect-abstract", "connects to an abstract socket",
            "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('\\0/tmp/.X11-unix/X0')"),
    refused("resolve", "resolves a name",
            "import socket\nprint(socket.getaddrinfo('example.com', 80))", "gaierror"),
    refused("urlopen", "fetches a page",
            "import urllib.request\nurllib.request.urlopen('http://192.0.2.1/', timeout=0.3)",
            "Error"),
    refused("http-server", "serves its folder over HTTP",
            "import http.server as h\nh.HTTPServer(('', 8000), h.SimpleHTTPRequestHandler)"),
    refused("asyncio-connect", "connects with asyncio",
            "import asyncio\nasyncio.run(asyncio.open_connection('192.0.2.1', 80))"),
    refused("syslog", "logs to the system's logger",
            "import logging.handlers as h\nh.SysLogHandler(('192.0.2.1', 514))",
            "Error"),
    refused("datagram-pair-elsewhere", "sends from a socket pair to an abstract address",
            "import socket\na, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
            "a.sendto(b'x', '\\0judge')\nprint('broke out')", "Error"),
    refused("socketpair-inet", "a socket pair of AF_INET",
            "import socket\nsocket.socketpair(socket.AF_INET)", "Error: [Errno"),
    Hostile("socketpair", "a socket pair inside the program",
            "import socket\na, b = socket.socketpair()\na.send(b'ok')\nprint(b.recv(9).decode())",
            "allowed, asyncio needs it", AC, limits=EASY),
)  # fmt: skip
