"""The explorer: choose picture, network, layer, class and methods, and see each map beside the numbers that check it.

    explorer()                                        # as the last line of a cell
    explorer("shapes_vgg", method="occlusion")        # begin there
    explorer(beside="mean of maps")                   # with a second map beside the first

What it computes is :func:`helpers.explorer.explanation.explore`; here are only its controls. It works with
ipywidgets 7.7 and 8. The package anywidget keeps its keys from the notebook around it.
"""

import io
import threading
from contextlib import redirect_stdout

import ipywidgets as widgets

from helpers.attribution.progress import watching
from helpers.data import Picture
from helpers.evaluation.methods import BASELINES, CLASS_BLIND, METHODS, METHODS_AND_BASELINES
from helpers.explorer.explanation import (
    Explored,
    bar,
    blend,
    classes_of,
    colour_scales,
    explore,
    input_of,
    layers,
    methods_of,
    offered,
    same_unit,
    seen_by,
    slow,
    unit_of,
)
from helpers.explorer.page import WIDTH, choose, chooser, figure, picture_in, row, scale, sentence, status
from helpers.models import load_classifier

NETS = ("efficientnet_lite0", "shapes_resnet", "shapes_vgg", "shapes_watermark", "shapes_vit")
NETS += ("resnet18", "squeezenet1_1", "vgg11")  # of torchvision, if they can be had
OWN = "your own"
HIGHEST = -1  # stands for the highest class: None would mean that nothing is chosen
NONE = ""  # stands for no second method
PATIENCE = 1.0  # seconds for which an old map may stand beside a new question


class Cancelled(Exception):
    """The reader has asked something else, or wants no answer any more."""


class Explorer(widgets.VBox):
    """The controls, and what they show; made by :func:`explorer`.

    Attributes:
        answers: for each method chosen its answer on the screen, :class:`helpers.explorer.explanation.Explored`, or
            a sentence that says why there is none; empty while there is nothing.
        worker: the thread that answers the newest question; when it has ended, the answer is there.
    """

    def __init__(self, net: str, method: str, beside: str) -> None:
        self.answers: list[Explored | str] = []
        self.own: Picture | None = None
        self.worker: threading.Thread | None = None
        self.loaded = ""  # the name in the list of the network that is in use
        self.own_note = ""  # that the reader's own picture was shrunk
        self.question = 0  # the number of the newest question: whoever answers an older one gives up
        self.unanswered = False  # whether the newest question waits for its answer
        self.refused = False  # whether the file chosen last was none: then no other picture stands below its name
        self.settling = False  # while lists change, nothing is asked
        self.lock = threading.Lock()  # one answer at a time: methods hook into the network
        self.screen = threading.RLock()  # one at a time writes on the page
        wide = {"layout": widgets.Layout(width=WIDTH)}
        self.net = widgets.Dropdown(options=list(dict.fromkeys((*NETS, net))), value=net, description="network", **wide)
        self.picture = widgets.Dropdown(description="picture", **wide)
        self.category = widgets.Dropdown(description="class", **wide)
        self.method = widgets.Dropdown(options=list(METHODS), value=method, description="method", **wide)
        self.beside = widgets.Dropdown(options=seconds(METHODS), value=beside, description="beside it", **wide)
        self.layer = widgets.Dropdown(description="layer", **wide)
        self.opacity = widgets.FloatSlider(0.8, min=0, max=1, step=0.05, description="opacity", **wide)
        self.upload = chooser(self.read, self.refuse_file)
        self.bar = widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="9.5rem"))
        self.cancel = widgets.Button(description="cancel", layout=widgets.Layout(width="6rem"))
        self.wait = widgets.HBox([self.bar, self.cancel], layout=widgets.Layout(visibility="hidden"))
        self.words, self.pair = widgets.HTML(), widgets.HTML()
        self.words.add_class("explorer-words")
        asked = [self.net, self.picture, self.category, self.method, self.beside, self.layer]
        controls = widgets.VBox([*asked, self.opacity, self.upload, self.wait])
        answer = widgets.VBox([self.words, self.pair], layout=widgets.Layout(flex="1 1 0%", min_width="220px"))
        super().__init__([widgets.HBox([controls, answer], layout=widgets.Layout(flex_flow="row wrap"))])
        self.add_class("course-explorer")
        self.load()
        changes = [self.change_net, self.change_picture, *[self.ask] * 4]
        for control, change in zip(asked, changes, strict=True):
            control.observe(lambda event, change=change: change(), "value")
        self.opacity.observe(lambda event: self.draw(), "value")
        self.cancel.on_click(lambda button: self.stop() if button.description == "cancel" else self.ask())

    @property
    def shown(self) -> Explored | None:
        """The answer of the first method; None while there is none."""
        return self.answers[0] if self.answers and isinstance(self.answers[0], Explored) else None

    @property
    def methods(self) -> list[str]:
        """The names of the methods chosen, one or two."""
        return [method for method in (self.method.value, self.beside.value) if method != NONE]

    def load(self) -> None:
        """Load the network chosen, offer its layers, classes, methods and pictures, keep what was chosen, and ask.

        Where only a stand-in can be had, say so and stay with the network in use, so that the list names what answers.
        """
        with redirect_stdout(io.StringIO()) as said:  # that a stand-in is used
            classifier = load_classifier(self.net.value)
        note = said.getvalue().strip()
        if classifier.name != self.net.value and self.loaded:
            self.net.value = self.loaded
            other = "" if classifier.name == self.loaded else f"; you can choose {classifier.name} in the list"
            return self.ask(f"{note} The network in use is still {self.loaded}{other}.")
        self.net.value = classifier.name
        found = {picture.title: picture for picture in offered(classifier)} | ({OWN: self.own} if self.own else {})
        x = input_of(classifier, next(iter(found.values())))
        named, methods = list(layers(classifier.model, x)), methods_of(classifier.model, x)
        same = self.loaded and self.classifier.categories == classifier.categories
        self.classifier, self.pictures = classifier, found
        self.loaded = self.net.value
        kept, method, beside = self.picture.value, self.method.value, self.beside.value
        self.settling = True
        try:
            choose(self.layer, list(dict.fromkeys([*named, classifier.layer])), classifier.layer)
            choose(self.picture, list(found), kept if kept in found else next(iter(found)))
            self.list_classes(self.category.value if same else HIGHEST)
            choose(self.method, methods, method if method in methods else "grad_cam")
            choose(self.beside, seconds(methods), beside if beside in (*methods, *BASELINES) else NONE)
        finally:
            self.settling = False
        self.ask(note)

    def list_classes(self, value: int) -> None:
        """Offer the classes of the network, those of the picture first, and choose one."""
        classes = classes_of(self.classifier, self.pictures[self.picture.value])
        choose(self.category, [("the highest", HIGHEST), *classes], value)

    def change_net(self) -> None:
        """Load the network chosen; if it cannot be had, say why and go back to the one in use."""
        if self.net.value == self.loaded:
            return
        self.clear([f"Loading {self.net.value} ..."])
        try:
            self.load()
        except Exception as error:  # an explorer says what is wrong where the reader looks, and goes on
            self.net.value = self.loaded
            self.refuse(f"{sentence(error)} The network in use is still {self.loaded}.")

    def change_picture(self) -> None:
        """Put the classes of the picture first, and ask."""
        if not self.settling:
            self.settling = True
            self.list_classes(self.category.value)
            self.settling = False
            self.ask()

    def read(self, files: dict | tuple, note: str = "") -> None:
        """Take an uploaded file as the picture, or say that it is none; ``note`` says that it was shrunk."""
        if not files:
            return
        try:
            self.own, self.own_note = Picture(picture_in(files), OWN, ()), note
        except ValueError as error:
            return self.refuse_file(sentence(error))
        self.pictures[OWN] = self.own
        self.settling = True
        choose(self.picture, list(self.pictures), OWN)
        self.list_classes(self.category.value)
        self.settling = False
        self.ask()

    def refuse(self, why: str) -> None:
        """Say why something cannot be done; no map stands beside such a sentence."""
        self.clear([], [why])
        self.wait.layout.visibility = "hidden"

    def refuse_file(self, why: str) -> None:
        """Say why a file cannot be the picture; no other picture stands beside such a sentence."""
        self.refused = True
        self.refuse(why)

    def clear(self, sentences: list[str], wrong: list[str] = ()) -> None:
        """Drop the question that is being answered, take the maps away, and say something."""
        with self.screen:
            self.question += 1
            self.unanswered = False
            self.blank(sentences, wrong)

    def blank(self, sentences: list[str], wrong: list[str] = ()) -> None:
        """Take the maps away, and say something."""
        self.answers = []
        self.draw()
        self.words.value = status(sentences, wrong)

    def await_answer(self, number: int) -> None:
        """If a question still waits for its answer, take the old maps away and offer to cancel it."""
        with self.screen:
            if number == self.question and self.unanswered:
                passes = "{} takes {} passes through the network ..."
                self.blank([passes.format(m, METHODS_AND_BASELINES[m].forward) for m in self.methods])
                self.wait.layout.visibility = "visible"

    def ask(self, note: str = "") -> None:
        """Answer the question that the controls ask, in a thread; an older question is dropped.

        Args:
            note: what is to be said above this answer, and above no later one.
        """
        if self.settling:
            return
        self.note, self.refused = note, False
        self.question += 1
        self.unanswered = True
        self.bar.value, self.cancel.description = 0, "cancel"
        self.wait.layout.visibility = "hidden"
        if any(slow(method) for method in self.methods):
            self.await_answer(self.question)
        else:
            timer = threading.Timer(PATIENCE, self.await_answer, [self.question])
            timer.daemon = True
            timer.start()
        category = None if self.category.value == HIGHEST else self.category.value
        question = (self.classifier, self.pictures[self.picture.value], self.methods, category, self.layer.value)
        self.worker = threading.Thread(target=self.answer, args=[self.question, *question], daemon=True)
        self.worker.start()

    def answer(
        self, number: int, classifier: object, picture: Picture, methods: list[str], category: int, layer: str
    ) -> None:
        """Explain by each method, and show the answers if the question still stands."""
        answers: list[Explored | str] = []

        def step(done: int, total: int, what: str) -> None:
            if number != self.question:
                raise Cancelled
            if total > 1:
                self.bar.value = (len(answers) + done / total) / len(methods)

        with self.lock:
            for method in methods:
                if number != self.question:
                    return
                try:
                    with watching(step):
                        answers.append(explore(classifier, picture, method, category=category, layer=layer))
                except Cancelled:
                    return
                except Exception as error:  # also what a network of the reader's own may raise
                    answers.append(sentence(error))
            with self.screen:
                if number == self.question:
                    self.answers, self.unanswered = answers, False
                    self.wait.layout.visibility = "hidden"
                    self.draw()
                    self.words.value = status(*self.sentences())

    def sentences(self) -> tuple[list[str], list[str]]:
        """Return what is to be said above the pictures, and what is wrong, once each."""
        maps = [answer for answer in self.answers if isinstance(answer, Explored)]
        wrong = [f"{m}: {a}" for m, a in zip(self.methods, self.answers, strict=False) if not isinstance(a, Explored)]
        if not maps and len(set(self.answers)) == 1:  # one reason for all
            wrong = [self.answers[0]]
        said = [self.note, self.own_note if self.picture.value == OWN else ""]
        said += [maps[0].numbers[0]] if maps else []
        if len(maps) == 2 and same_unit(*maps):
            said.append("Both maps have the same unit and share one colour scale.")
        elif len(maps) == 2:
            said.append("The maps differ in unit, so each has a colour scale of its own: compare places, not values.")
        return said, wrong

    def stop(self) -> None:
        """Drop the question that is being answered."""
        self.clear(["Cancelled."])
        self.cancel.description = "again"

    def draw(self) -> None:
        """Show the picture as the network sees it, and beside it the maps over it, with their scales and numbers."""
        if self.refused:
            self.pair.value = ""
            return
        maps = [answer for answer in self.answers if isinstance(answer, Explored)]
        try:
            image = maps[0].seen if maps else seen_by(self.classifier, self.pictures[self.picture.value])
        except ValueError:  # the network does not take it, and words say why
            image = self.pictures[self.picture.value].image
        figures = [figure(image, f"The picture as the network sees it: {self.picture.value}", "the picture")]
        for shown, look in zip(maps, colour_scales(*maps) if maps else [], strict=True):
            blind, opacity = shown.method in (*BASELINES, *CLASS_BLIND), self.opacity.value
            name = "no class" if blind else f"for {self.classifier.categories[shown.target]}"
            figures.append(
                figure(
                    blend(image, shown.heat, opacity, look),
                    f"The map of {shown.method}, {name}, over the picture",
                    f"{shown.method}, {name}",
                    scale(bar(look, opacity), look, unit_of(shown.method)),
                    shown.numbers[1:],
                )
            )
        self.pair.value = row(figures)


def seconds(methods: list[str]) -> list[tuple[str, str]]:
    """Return the entries of the second list of methods: none, the methods, and what knows nothing of the class."""
    controls = [(f"control: {name}", name) for name in BASELINES]
    return [("none", NONE), *((method, method) for method in methods), *controls]


def explorer(net: str | None = None, method: str = "grad_cam", beside: str | None = None) -> Explorer:
    """Return the explorer, to be shown as the last line of a cell.

    Args:
        net: any name of a network that ``load_classifier`` takes and that gives maps; unless given, the real network,
            or where its weights are not installed a net of shapes.
        method: any attribution method of the course, by its name.
        beside: a second method to show beside it, or a baseline of ``helpers.evaluation.methods.BASELINES``.

    Returns:
        The controls and what they show, :class:`Explorer`.

    Raises:
        ValueError: an unknown network or method.

    >>> from helpers.explorer import explorer
    >>> box = explorer("shapes_vgg", method="grad_cam", beside="mean of maps")
    >>> box.worker.join()  # until the maps are there
    >>> [(shown.method, tuple(shown.heat.shape)) for shown in box.answers]
    [('grad_cam', (128, 128)), ('mean of maps', (128, 128))]
    """
    if method not in METHODS:
        raise ValueError(f"There is no method {method!r}; choose one of {', '.join(METHODS)}.")
    if beside is not None and beside not in METHODS_AND_BASELINES:
        raise ValueError(f"There is no method {beside!r}; choose one of {', '.join(METHODS_AND_BASELINES)}.")
    if net is not None:
        return Explorer(net, method, beside or NONE)
    try:
        return Explorer(NETS[0], method, beside or NONE)
    except ModuleNotFoundError as error:
        print(error)
        return Explorer(NETS[1], method, beside or NONE)
