"""The image: a Debian base, then Node and a database, then the application's dependencies; built when inputs change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
from pathlib import Path

import shell
from podman import Podman
from settings import RELEASE, SHARED, LabError, Settings

REPOSITORY = "localhost/orquestrador-lab"
LABEL = "orquestrador.lab=image"  # given by the Containerfile to every layer above the base
IMAGE = SHARED / "image"
NO_MYSQL = "database.sh: no MySQL from unstable\n"  # what the script says last when it fails
APP_INPUTS = ("package.json", "package-lock.json", ".npmrc")
LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")
# Slimmer than a real server only where nobody looks: manuals, documentation, translations.
DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)


def packages() -> list[str]:
    """The base's packages, from image/packages.txt."""
    lines = (line.split("#")[0].strip() for line in (IMAGE / "packages.txt").read_text().splitlines())
    return [line for line in lines if line]


def apt_settings() -> list[str]:
    """This machine's apt settings that the image needs to reach the same archive: proxies, dates, retries."""
    found = []
    wanted = re.compile(r"Acquire::(?:https?::(?:[\w.-]+::)?Proxy|Check-Valid-Until|Check-Date|Retries) ")
    if shutil.which("apt-config"):
        found = [line for line in shell.run(["apt-config", "dump"]).stdout.splitlines() if wanted.match(line)]
    for scheme in ("http", "https"):
        proxy = os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme.upper()}_PROXY")
        if proxy and not any(f"::{scheme}::Proxy " in line for line in found):
            found.append(f'Acquire::{scheme}::Proxy "{proxy}";')
    return found


def machine_mirror() -> str | None:
    """The archive that this machine's apt uses, None on anything but Debian (mmdebstrap then has its default)."""
    release = Path("/etc/os-release")
    if not release.exists() or not re.search(r"^ID=debian$", release.read_text(), re.MULTILINE):
        return None
    targets = shell.run(
        ["apt-get", "--no-release-info", "indextargets", "--format", "$(SITE) $(COMPONENT)", "Created-By: Packages"],
        check=False,
    ).stdout
    for line in targets.splitlines():
        site, _, component = line.partition(" ")
        if component == "main" and "security" not in site and site.startswith(("http://", "https://")):
            return site
    return None


def prepare_context(settings: Settings) -> tuple[Path, str, str]:
    """Assemble the build context; returns (directory, hash of the base's inputs, hash of everything)."""
    context = settings.cache / f"context-{settings.database}"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(IMAGE, context)
    shutil.copy(context / "packages.txt", context / "setup" / "packages.txt")
    apt = context / "etc" / "apt" / "apt.conf.d" / "90machine"
    apt.parent.mkdir(parents=True, exist_ok=True)
    apt.write_text("".join(line + "\n" for line in apt_settings()))
    certificates = context / "ca-certificates"
    certificates.mkdir()
    if LOCAL_CERTIFICATES.is_dir():
        for certificate in sorted(LOCAL_CERTIFICATES.rglob("*.crt")):
            shutil.copy(certificate, certificates / certificate.name)
    app = context / "app"
    app.mkdir()
    for name in APP_INPUTS:
        if (SHARED / "app" / name).is_file():
            shutil.copy(SHARED / "app" / name, app / name)
    whole = hashlib.sha256(f"{RELEASE} {settings.base_image} {settings.mirror} {settings.database}\n".encode())
    for path in sorted(context.rglob("*")):
        if path.is_file():
            path.chmod(0o755 if path.suffix == ".sh" else 0o644)
            whole.update(f"{path.relative_to(context)} {path.stat().st_size}\n".encode() + path.read_bytes())
        # Podman's layer cache looks at times as well.
        os.utime(path, (0, 0))
    base = hashlib.sha256("\n".join([RELEASE, str(settings.mirror), *DPKG_OPTIONS, *packages()]).encode())
    return context, base.hexdigest()[:16], whole.hexdigest()[:16]


def ensure(settings: Settings, podman: Podman) -> str:
    """The name of an image that fits the present inputs, built if need be. Bounded by half an hour in all."""
    with shell.lock(settings.cache / "build.lock", "the image build", timeout=1800):
        context, base_hash, whole_hash = prepare_context(settings)
        image = f"{REPOSITORY}-{settings.database}:{whole_hash}"
        if _exists(podman, image):
            return image
        podman.usable()
        _clear_interrupted(settings, podman)
        _scratch(settings).mkdir(parents=True)
        _scratch(settings).chmod(0o755)  # apt downloads as a user of its own
        try:
            base = settings.base_image or _ensure_base(settings, podman, base_hash)
            _build(settings, podman, context, base, image)
        except BaseException:
            _clear_interrupted(settings, podman)
            raise
        _forget_older(podman, f"{REPOSITORY}-{settings.database}", image)
        # Layers that nothing refers to any more; young ones still speed up the next build.
        podman.run(
            "image", "prune", "--force", "--filter", f"label={LABEL}", "--filter", "until=72h", check=False, timeout=120
        )
        return image


def _ensure_base(settings: Settings, podman: Podman, base_hash: str) -> str:
    image = f"{REPOSITORY}-base:{base_hash}"
    if _exists(podman, image):
        return image
    argv = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=tar",
        "--skip=cleanup/apt/lists",
        f"--include={','.join(packages())}",
    ]
    argv += [f"--aptopt={line}" for line in ['Acquire::Languages "none";', *apt_settings()]]
    argv += [f"--dpkgopt={option}" for option in DPKG_OPTIONS]
    argv += [RELEASE, "-"]
    mirror = settings.mirror or machine_mirror()
    if mirror:
        argv.append(mirror)
    # In namespaces of its own its mounts and children can't outlive it, however it ends.
    argv = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", *argv]
    bootstrap = shlex.join(shell.mortal(shell.elevated(argv, keep=[f"TMPDIR={_scratch(settings)}"]), by="KILL"))
    # Straight into podman: a tarball of half a gigabyte on the way would cost seconds and serve nobody afterwards.
    pipe = f"set -o pipefail; {bootstrap} | {shlex.join(shell.mortal(podman.argv('import', '-', image)))}"
    shell.stage(
        f"building the Debian {RELEASE} base (about a minute)",
        ["bash", "-c", pipe],
        timeout=900,
        log=settings.cache / "base.log",
    )
    _forget_older(podman, f"{REPOSITORY}-base", image)
    return image


def _clear_interrupted(settings: Settings, podman: Podman) -> None:
    """End and remove what a build that was killed left behind.

    Its steps run on as orphans of the runtime (npm with a broken pipe spins for ever): their bundles lie in our scratch
    directory, which tells them from anybody else's. Its working containers are known by the label of the image below.
    """
    runtime = podman.run("info", "--format", "{{.Host.OCIRuntime.Path}}", check=False).stdout.strip()
    scratch = _scratch(settings)
    if runtime:
        listed = shell.run(shell.elevated([runtime, "list", "--format", "json"]), check=False).stdout
        with contextlib.suppress(ValueError):
            for entry in json.loads(listed) or []:
                if str(entry.get("bundle", "")).startswith(f"{scratch}/"):
                    shell.run(shell.elevated([runtime, "delete", "--force", entry["id"]]), check=False)
    listed = podman.run("ps", "--all", "--external", "--format", "{{.ID}} {{.ImageID}} {{.Status}}", check=False).stdout
    for line in listed.splitlines():
        container, image, state = [*line.split(None, 2), "", "", ""][:3]
        if state != "Storage":
            continue
        described = podman.run("image", "inspect", "--format", "{{json .Labels}} {{.RepoTags}}", image, check=False)
        if '"orquestrador.lab":"image"' in described.stdout or REPOSITORY in described.stdout:
            podman.run("rm", "--force", container, check=False, timeout=60)
    shell.run(shell.elevated(["rm", "-rf", "--one-file-system", str(scratch)]), timeout=120)


def _scratch(settings: Settings) -> Path:
    return settings.cache / "tmp"


def _build(settings: Settings, podman: Podman, context: Path, base: str, image: str) -> None:
    argv = podman.argv(
        "build",
        "--jobs",
        "2",
        "--layers",
        "--network",
        "host",
        "--tag",
        image,
        "--build-arg",
        f"BASE={base}",
        "--build-arg",
        f"DATABASE={settings.database}",
        "--file",
        str(context / "Containerfile"),
        str(context),
        environment=[f"TMPDIR={_scratch(settings)}"],
    )
    log = settings.cache / f"build-{settings.database}.log"
    try:
        shell.stage(
            f"building the image with Node, PM2 and {settings.database} (about a minute)", argv, timeout=1200, log=log
        )
    except LabError:
        if NO_MYSQL in log.read_text(errors="replace"):
            raise LabError(
                "Debian's unstable, the only suite that has MySQL, gave none: it may be broken for a day: try again "
                f"later, or take LAB_DATABASE=mariadb, which needs nothing of it; the whole output is in {log}"
            ) from None
        raise


def _exists(podman: Podman, image: str) -> bool:
    return podman.run("image", "exists", image, check=False).returncode == 0


def _forget_older(podman: Podman, repository: str, keep: str) -> None:
    """Untag images of earlier inputs, unless they are young (another checkout's, another branch's) or in use."""
    listed = podman.run(
        "images",
        "--format",
        "{{.Repository}}:{{.Tag}}",
        "--filter",
        f"reference={repository}",
        "--filter",
        "until=72h",
        check=False,
    ).stdout.split()
    for name in listed:
        if name != keep and name.startswith(repository + ":"):
            podman.run("rmi", name, check=False, timeout=60)


def purge(settings: Settings, podman: Podman) -> None:
    """Remove every image of the labs that no container uses, and the caches."""
    listed = podman.run("images", "--format", "{{.Repository}}:{{.Tag}}", check=False).stdout.split()
    for name in listed:
        if name.startswith(REPOSITORY + "-"):
            podman.run("rmi", name, check=False, timeout=60)
    podman.run("image", "prune", "--force", "--filter", f"label={LABEL}", check=False, timeout=120)
    shell.run(shell.elevated(["rm", "-rf", "--one-file-system", str(settings.cache)]), timeout=120)
