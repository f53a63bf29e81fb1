"""The explorer: choose picture, network, layer, class and method, and see the map beside the numbers that check it.

    explorer()                                        # as the last line of a cell
    explorer("shapes_vgg", method="occlusion")        # begin there

What it computes is :func:`helpers.explorer.explanation.explore`; here are only its controls. It works with
ipywidgets 7.7 and 8.
"""

import html
import io
import threading
from contextlib import redirect_stdout

import ipywidgets as widgets

from helpers.attribution.progress import watching
from helpers.data import Picture
from helpers.evaluation.methods import METHODS
from helpers.explorer.explanation import Explored, blend, explore, layers, offered, seen_by, slow
from helpers.explorer.page import choose, picture_in, sentence, tag
from helpers.models import load_classifier

NETS = ("shapes_resnet", "shapes_vgg", "shapes_watermark", "efficientnet_lite0", "resnet18", "squeezenet1_1", "vgg11")
OWN = "your own"
HIGHEST = -1  # stands for the highest class: None would mean that nothing is chosen


class Cancelled(Exception):
    """The reader has asked something else, or wants no answer any more."""


class Explorer(widgets.VBox):
    """The controls, and what they show; made by :func:`explorer`.

    Attributes:
        shown: the answer on the screen, :class:`helpers.explorer.explanation.Explored`; None while there is none.
        worker: the thread that answers the newest question; when it has ended, the answer is there.
    """

    def __init__(self, net: str, method: str) -> None:
        self.shown: Explored | None = None
        self.own: Picture | None = None
        self.worker: threading.Thread | None = None
        self.loaded = ""  # the name in the list of the network that is in use
        self.question = 0  # the number of the newest question: whoever answers an older one gives up
        self.settling = False  # while lists change, nothing is asked
        self.lock = threading.Lock()  # one answer at a time: methods hook into the network
        wide = {"layout": widgets.Layout(width="18rem")}
        self.net = widgets.Dropdown(options=list(dict.fromkeys((net, *NETS))), value=net, description="network", **wide)
        self.picture = widgets.Dropdown(description="picture", **wide)
        self.upload = widgets.FileUpload(accept="image/*", multiple=False, description="your own picture", **wide)
        self.category = widgets.Dropdown(description="class", **wide)
        self.method = widgets.Dropdown(options=list(METHODS), value=method, description="method", **wide)
        self.layer = widgets.Dropdown(description="layer", **wide)
        self.opacity = widgets.FloatSlider(0.8, min=0, max=1, step=0.05, description="opacity", **wide)
        self.bar = widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="11.5rem"))
        self.cancel = widgets.Button(description="cancel", layout=widgets.Layout(width="6rem"))
        self.wait = widgets.HBox([self.bar, self.cancel], layout=widgets.Layout(visibility="hidden"))
        self.pair, self.words = widgets.HTML(), widgets.HTML()
        asked = [self.net, self.picture, self.category, self.method, self.layer]
        controls = widgets.VBox([*asked, self.opacity, self.upload, self.wait])
        super().__init__([widgets.HBox([controls, self.pair], layout=widgets.Layout(flex_flow="row wrap")), self.words])
        self.load()
        for control, change in zip(asked, [self.change_net, *[self.ask] * 4], strict=True):
            control.observe(lambda event, change=change: change(), "value")
        self.opacity.observe(lambda event: self.draw(), "value")
        self.upload.observe(lambda event: self.read(event["new"]), "value")
        self.cancel.on_click(lambda button: self.stop() if button.description == "cancel" else self.ask())

    def load(self) -> None:
        """Load the network chosen, offer its layers, classes and pictures, keep what was chosen, and ask."""
        with redirect_stdout(io.StringIO()) as said:  # that a stand-in is used
            classifier = load_classifier(self.net.value)
        found = {picture.title: picture for picture in offered(classifier)} | ({OWN: self.own} if self.own else {})
        named = list(layers(classifier.model, classifier.preprocess(next(iter(found.values())))))
        same = self.loaded and self.classifier.categories == classifier.categories
        self.classifier, self.pictures = classifier, found
        self.loaded, self.note = self.net.value, said.getvalue().strip()
        classes = [("the highest", HIGHEST), *((name, i) for i, name in enumerate(classifier.categories))]
        kept = self.picture.value
        self.settling = True
        try:
            choose(self.layer, list(dict.fromkeys([*named, classifier.layer])), classifier.layer)
            choose(self.category, classes, self.category.value if same else HIGHEST)
            choose(self.picture, list(found), kept if kept in found else next(iter(found)))
        finally:
            self.settling = False
        self.ask()

    def change_net(self) -> None:
        """Load the network chosen; if it cannot be had, say why and go back to the one in use."""
        if self.net.value == self.loaded:
            return
        self.question += 1  # what is being answered is of no use any more
        self.say([f"Loading {self.net.value} ..."])
        try:
            self.load()
        except Exception as error:  # an explorer says what is wrong where the reader looks, and goes on
            self.net.value = self.loaded
            self.wait.layout.visibility = "hidden"
            self.say([sentence(error)], wrong=True)

    def read(self, files: dict | tuple) -> None:
        """Take an uploaded file as the picture, or say that it is none."""
        if not files:
            return
        try:
            self.own = Picture(picture_in(files), OWN, ())
        except ValueError as error:
            return self.say([sentence(error)], wrong=True)
        self.pictures[OWN] = self.own
        self.settling = True
        choose(self.picture, list(self.pictures), OWN)
        self.settling = False
        self.ask()

    def ask(self) -> None:
        """Answer the question that the controls ask, in a thread; an older question is dropped."""
        if self.settling:
            return
        self.question += 1
        self.bar.value, self.cancel.description = 0, "cancel"
        self.wait.layout.visibility = "visible" if slow(self.method.value) else "hidden"
        if slow(self.method.value):
            self.shown = None  # no old map beside a new question
            self.say([f"{self.method.value} takes {METHODS[self.method.value].forward} passes through the network ..."])
            self.draw()
        category = None if self.category.value == HIGHEST else self.category.value
        question = (self.classifier, self.pictures[self.picture.value], self.method.value, category, self.layer.value)
        self.worker = threading.Thread(target=self.answer, args=[self.question, *question], daemon=True)
        self.worker.start()

    def answer(self, number: int, classifier: object, picture: Picture, method: str, category: int, layer: str) -> None:
        """Explain, and show the answer if the question still stands."""

        def step(done: int, total: int, what: str) -> None:
            if number != self.question:
                raise Cancelled
            if total > 1:
                self.bar.value = done / total

        with self.lock:
            if number != self.question:
                return
            try:
                with watching(step):
                    shown = explore(classifier, picture, method, category=category, layer=layer)
                words = [self.note, *shown.numbers]
            except Cancelled:
                return
            except Exception as error:  # also what a network of the reader's own may raise
                shown, words = None, [sentence(error)]
            if number == self.question:
                self.shown = shown
                self.wait.layout.visibility = "hidden"
                self.draw()
                self.say(words, wrong=shown is None)

    def stop(self) -> None:
        """Drop the question that is being answered."""
        self.question += 1
        self.cancel.description = "again"
        self.say(["Cancelled."])

    def draw(self) -> None:
        """Show the picture as the network sees it, and beside it the map over it if there is one."""
        picture = self.pictures[self.picture.value]
        try:
            image = self.shown.seen if self.shown else seen_by(self.classifier, picture)
        except ValueError:  # the network does not take it, and words say why
            image = picture.image
        pictures = [tag(image, "The picture as the network sees it")]
        if self.shown:
            over = blend(image, self.shown.heat, self.opacity.value)
            name = self.classifier.categories[self.shown.target]
            pictures.append(tag(over, f"The map of {self.shown.method} for {name}, over the picture"))
        self.pair.value = "".join(pictures)

    def say(self, sentences: list[str], *, wrong: bool = False) -> None:
        """Write sentences below the pictures, in red if something is wrong."""
        lines = "<br>".join(html.escape(sentence) for sentence in sentences if sentence)
        self.words.value = (
            f'<div role="status" style="line-height:1.5{";color:#b00020" if wrong else ""}">{lines}</div>'
        )


def explorer(net: str = "shapes_resnet", method: str = "grad_cam") -> Explorer:
    """Return the explorer, to be shown as the last line of a cell.

    Args:
        net: any name of a network with convolutions that ``load_classifier`` takes.
        method: any attribution method of the course, by its name.

    Returns:
        The controls and what they show, :class:`Explorer`.

    Raises:
        ValueError: an unknown network or method.

    >>> from helpers.explorer import explorer
    >>> box = explorer("shapes_vgg", method="grad_cam")
    >>> box.worker.join()  # until the map is there
    >>> box.shown.method, tuple(box.shown.heat.shape)
    ('grad_cam', (128, 128))
    """
    if method not in METHODS:
        raise ValueError(f"There is no method {method!r}; choose one of {', '.join(METHODS)}.")
    return Explorer(net, method)
