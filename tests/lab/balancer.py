"""A balancer's own configuration: Nginx's files, which its host alone sees as /etc/nginx, and a record of what they and Nginx truly had."""
import hashlib
import os
import threading
from pathlib import Path

from records import Lines, now

CONFIGURATION = Path("/etc/nginx")
NETNS = Path("/etc/netns")  # `ip netns exec NAME` shows /etc/netns/NAME/nginx as /etc/nginx.
NGINX = """\
daemon off;
user root;
worker_processes 1;
pid /etc/nginx/run/nginx.pid;
error_log /etc/nginx/run/nginx.log notice;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path /etc/nginx/run/body;
    proxy_temp_path /etc/nginx/run/proxy;
    fastcgi_temp_path /etc/nginx/run/fastcgi;
    uwsgi_temp_path /etc/nginx/run/uwsgi;
    scgi_temp_path /etc/nginx/run/scgi;
    include /etc/nginx/conf.d/*.conf;
}
"""
SITE = """\
server {{
    listen 80 reuseport backlog=4096;
    keepalive_timeout 60s;
    location / {{
        return 200 "{name}\\n";
    }}
    location = /healthz {{ return 200 "ok\\n"; }}
}}
"""
KEY = "-----BEGIN PRIVATE KEY-----\nwhat nobody else may know of {name}\n-----END PRIVATE KEY-----\n"
LOOK_SECONDS = 0.02


class Files:
    """The files of one host. What is in run/ and many/ is nobody's configuration: the former is Nginx's own, the latter never changes."""

    def __init__(self, name, directory):
        self.name, self.root = name, directory / "etc/nginx"
        for folder in ("conf.d", "ssl", "run"):
            (self.root / folder).mkdir(parents=True)
        (NETNS / name).unlink(missing_ok=True)
        (NETNS / name).symlink_to((directory / "etc").resolve())
        self.write("nginx.conf", NGINX)
        self.write("conf.d/site.conf", SITE.format(name=name))
        self.write("ssl/site.key", KEY.format(name="the site"), mode=0o600)
        self.known = {}

    def __truediv__(self, name):
        return self.root / name

    def write(self, name, text, mode=0o644):
        """All of it at once, as a careful editor does."""
        beside = self.root / "run" / f"new-{Path(name).name}"
        beside.write_text(text, encoding="utf-8")
        beside.chmod(mode)
        os.replace(beside, self.root / name)

    def read(self, name):
        return (self.root / name).read_text(encoding="utf-8")

    def edit(self, old, new, name="conf.d/site.conf"):
        text = self.read(name)
        assert text.count(old) == 1, f"{old!r} is not once in {name}: {text}"
        self.write(name, text.replace(old, new), mode=(self / name).stat().st_mode & 0o7777)

    def loads(self):
        """How often Nginx has loaded its files, as it tells itself."""
        log = self.root / "run/nginx.log"
        return log.read_bytes().count(b"start worker processes") if log.exists() else 0

    def digest(self):
        """Of everything declared, lines that name the node left out."""
        sealed = hashlib.sha256()
        for path in sorted([self.root / "nginx.conf", *(self.root / "conf.d").iterdir(), *(self.root / "ssl").iterdir()]):
            if not path.name.startswith(".vipward"):  # What a repair keeps beside the files, which no program reads.
                sealed.update(self.of_file(path))
        return sealed.hexdigest()[:12]

    def of_file(self, path):
        try:
            stat = path.lstat()
            stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_mode)
            if self.known.get(path, (None,))[0] != stamp:
                self.known[path] = (stamp, self.read_file(path, stat))
            return self.known[path][1]
        except OSError:
            return b""  # Gone meanwhile: the next look does not find it.

    def read_file(self, path, stat):
        about = f"{path.relative_to(self.root)} {stat.st_mode:o} {stat.st_uid} {stat.st_gid}\n".encode()
        if path.is_symlink():
            return about + os.readlink(path).encode()
        if not path.is_file():
            return about
        return about + b"".join(line for line in path.read_bytes().splitlines(True) if self.name.encode() not in line)


class Truth:
    """Looks at the balancers' files all the time, whoever changes them, and records each state: what is on disk, what Nginx has loaded."""

    def __init__(self, hosts, path):
        self.hosts, self.lines = hosts, Lines(path)
        self.last, self.seen = {}, {}
        self.hidden = set()
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.look()
        self.thread = threading.Thread(target=self.look_on, daemon=True)
        self.thread.start()

    def look_on(self):
        while not self.over.wait(LOOK_SECONDS):
            self.look()

    def look(self):
        with self.lock:
            for host in self.hosts:
                self.look_at(host)

    def look_at(self, host):
        at, loads, files = now(), host.files.loads(), host.files.digest()
        if loads != host.files.loads():
            return  # In the middle of a load; the next look is soon.
        before = self.seen.get(host.name, (0, None, None))
        process = host.nginx.process.pid if host.nginx.running() else None
        loaded = files if loads != before[0] else before[1] if process == before[2] else None
        self.seen[host.name] = (loads, loaded, process)
        state = {"files": f"{files} in part" if host in self.hidden else files, "loaded": loaded}
        if self.last.get(host.name) != state:
            self.last[host.name] = state
            self.lines.write(at=at, node=host.name, **state)

    def hides(self, node, something=True):
        """Something of this node's configuration cannot be read, so that nobody can say that it is like another's."""
        (self.hidden.add if something else self.hidden.discard)(node)
        self.look()

    def overridden(self, node, how):
        """An operator lets this node lead with what it has now."""
        self.look()
        self.lines.write(at=now(), node=node.name, override=how, **self.last[node.name])

    def end(self):
        self.over.set()
        self.thread.join()
        self.lines.close()
