"""Which layout an image has: what the settings say, else what the image shows."""

from __future__ import annotations

import io
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Mapping

from gateway.config.container import ContainerImage
from gateway.executors.container.api import Api, NotThereError
from gateway.executors.container.images import Image, ImageMissingError
from gateway.executors.container.layouts import package
from gateway.executors.container.layouts.base import ClaraLayout, Layout
from gateway.executors.container.layouts.module import ModuleLayout

_MOST_BYTES = 4 << 20
_MOST_KNOWN = 256


class Layouts:
    """Layouts by image; what an image shows is looked at once."""

    def __init__(self, api: Api, settings: Mapping[str, ContainerImage]) -> None:
        self._api = api
        self._settings = settings
        self._lock = threading.Lock()
        self._known: OrderedDict[str, package.Manifest | None] = OrderedDict()

    def settings(self, image: str, tag: str) -> ContainerImage:
        """What the settings say of ``image:tag``, else of ``image``."""
        for key in (f"{image}:{tag}", image):
            if key in self._settings:
                return self._settings[key]
        return ContainerImage()

    def of(self, image: Image, told: ContainerImage) -> Layout:
        """The layout of ``image``; :class:`ImageMissingError` if its manifests are no good."""
        if told.layout == "mercure":
            return ModuleLayout(image.reference, told.settings)
        if told.layout == "clara":
            return ClaraLayout()
        found = self._manifest(image)
        if found is not None:
            return package.PackageLayout(found, image.env)
        if told.layout == "map":
            places = " nor ".join(package.FOLDERS)
            message = f"{image.reference} is no MONAI application package: no app.json in {places}"
            raise ImageMissingError(message)
        return ClaraLayout()

    def _manifest(self, image: Image) -> package.Manifest | None:
        with self._lock:
            if image.id not in self._known:
                self._known[image.id] = self._look(image)
                while len(self._known) > _MOST_KNOWN:
                    self._known.popitem(last=False)
            return self._known[image.id]

    def _look(self, image: Image) -> package.Manifest | None:
        """Look into the image through a container of it that never runs."""
        with self._api.session() as client:
            probe = str(
                client.create_container(image.id, entrypoint=["/"], network_disabled=True)["Id"]
            )
        try:
            for folder in package.FOLDERS:
                application = self._file(probe, f"{folder}/{package.APPLICATION}")
                if application is None:
                    continue
                extra = self._file(probe, f"{folder}/{package.PACKAGE}")
                try:
                    return package.manifest(folder, application, extra)
                except ValueError as error:
                    raise ImageMissingError(
                        f"{image.reference} is a broken package: {error}"
                    ) from error
            return None
        finally:
            with self._api.session() as client:
                client.remove_container(probe, v=True, force=True)

    def _file(self, container: str, path: str) -> bytes | None:
        try:
            with self._api.session() as client:
                stream, _ = client.get_archive(container, path)
                data = bytearray()
                for piece in stream:
                    data += piece
                    if len(data) > _MOST_BYTES:
                        return None
        except NotThereError:
            return None
        with tarfile.open(fileobj=io.BytesIO(bytes(data))) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if file is not None:
                    return file.read()
        return None
