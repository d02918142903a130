"""English words of praise and complaint, as shoppers write them, with what turns and what strengthens them. No I/O.

Chosen by hand for any kind of product: how it works, fits, feels, tastes, lasts, arrives, and what the shopper will do
about it. Numbers are valences from -3 to 3; the scheme is that of VADER (Hutto & Gilbert, 2014), the words are our own.
"""

from __future__ import annotations

from collections.abc import Mapping

_WORDS = {
    3: """
        amazing amazingly awesome adore adored brilliant best delighted delightful excellent exceeded exceeds
        exceptional exquisite fabulous fantastic flawless flawlessly gorgeous heavenly incredible incredibly
        love loved lovely loves loving magnificent marvelous marvellous outstanding perfect perfection perfectly
        phenomenal sensational spectacular splendid stunning sublime superb superior terrific thrilled wonderful
        wonderfully wow yummy
    """,
    2: """
        admire affordable attractive beautiful beautifully beauty bargain bonus breathable charming clever
        comfortable comfortably comfy compliment complimented compliments convenient cool cosy cozy crisp cute
        delicious durable ease easily easy effective efficient effortless elegant elegantly enjoy enjoyable
        enjoyed enjoying enjoys fast favorite favourite flattering flatters fresh fun generous glad gem genius
        good great greatest handy happier happily happy hooked helpful ideal impress impressed impressive
        invaluable joy keeper neat nice nicely nicer pleasant pleasantly pleased pleasing pleasure pretty prompt
        promptly quality quick quickly quiet recommend recommended recommending reliable responsive rich roomy
        satisfied satisfying sharp sleek slick smart smooth smoothly snug soft softer soothing spacious speedy
        stylish sturdy success super sweet tasty thank thankful thanks tidy treat trust trustworthy versatile
        vibrant welcome well winner worth worthwhile yay
    """,
    1: """
        accurate adequate accurately advantage appreciate appreciated authentic balanced better bold bright
        classic clean clear clearly confident correct correctly decent dependable fair fine flexible forgiving
        friendly functional genuine gentle handsome healthy improve improved improvement improves intuitive
        light lightweight like liked likes luxurious modern natural ok okay original polished practical precise
        professional proper properly protects refined reasonable reasonably refreshing relaxed repurchase rugged
        safe seamless secure securely simple solid special stable steady strong supportive sure timely unique
        useful usable warm works worked working
    """,
    -1: """
        average awkward bare basic boring bulky careful cheaply clumsy complicated concerned confusing crooked
        delay delayed different difficult doubt dull excessive expensive faint flimsy gimmick greasy hard harder
        hassle heavy hesitant hope hoping inconsistent inconvenient itchy limited loose loud mediocre meh mixed
        noisy odd ordinary otherwise overpriced plain pricey problem problems questionable rough scratchy sheer
        shapeless slow slowly smaller sticky stiff strange struggle tight tricky uneven unclear underwhelmed
        unsure unusual weird wish
    """,
    -2: """
        annoyed annoying bad badly bleeds blurry break breaking breaks broke broken bubbling buggy burned burnt
        cheap clogged clogs collapsed complain complained complaint complaints crack cracked cracks crap crappy
        crash crashes creased cut damage damaged damages defect defective defects dented difficulty dirty
        disappoint disappointed disappointing disappointment disappoints discard discomfort dislike disliked
        disintegrated drains dropped drops dry error errors expired fade faded fades fail failed failing fails
        failure fake faulty flaw flawed flaws fragile frizzy frumpy frustrated frustrating frustration glitch
        glitchy gross hurt hurts ill impossible inaccurate incorrect inferior irritated irritating irritation
        itched itches junky lack lacking lacks leak leaked leaking leaks lie lied loses lost lousy lumpy
        matronly mess messy misleading missing mistake musty negative nuisance painful peeled peeling peels
        pilled pilling pills poor poorly rash regret regretted ripped rips ruin ruined rust rusted sad sadly
        sagging sags scratched scratches shame shoddy shrank shrink shrunk sick skip smell smells smelly snagged
        snags sorry stain stained stains stale stink stinks stopped stuck sucks terribly tear tears thin threw
        tore torn ugly uncomfortable unacceptable unattractive unable underpowered unfinished unflattering
        unfortunate unfortunately unhappy unimpressed unless unpleasant unraveled unreliable unresponsive
        unsatisfied unusable unwearable upset useless warped waste weak wobbles wobbly worn worried worry worse
        wrinkled wrinkles wrong
    """,
    -3: """
        abysmal appalled appalling atrocious avoid awful beware crummy dangerous deceived deceptive despise
        disaster disastrous disgusted disgusting dreadful fraud garbage hate hated hates hideous hideously
        horrendous horrible horribly horrid infuriating insult junk laughable liar nasty nightmare pathetic
        refund refunded returned returning ridiculous rubbish scam shameful terrible trash unbearable unsafe
        unwatchable vile wasted worst worthless yuck
    """,
}
PHRASES: Mapping[str, int] = {
    "falling apart": -3, "fell apart": -3, "fall apart": -3, "falls apart": -3, "came apart": -3, "send back": -2,
    "sending back": -2, "sent back": -2, "going back": -2, "went back": -2, "money back": -2, "stay away": -3,
    "stopped working": -3, "stop working": -2, "quit working": -3, "stops working": -2, "gave up": -2, "give up": -1,
    "even worse": -2, "too small": -1, "too big": -1, "too large": -1, "too short": -1, "too tight": -2, "too thin": -1,
    "too much": -1, "too bad": -2, "let down": -2, "rip off": -3, "ripped off": -3, "no good": -2, "not worth": -2,
    "bad batch": -2, "old fashioned": 0, "five stars": 3, "two stars": -2, "one star": -3, "zero stars": -3,
    "must have": 2, "must buy": 2, "well made": 2, "well worth": 2, "well built": 2, "poorly made": -3,
    "cheaply made": -3, "high quality": 2, "good quality": 2, "great quality": 2, "low quality": -3, "poor quality": -3,
    "bad quality": -3, "customer service": 0, "return policy": 0, "buy again": 2, "order again": 2, "purchase again": 2,
    "like new": 1, "looks like": 0, "look like": 0, "looked like": 0, "feels like": 0, "felt like": 0, "smells like": 0,
    "pretty much": 0, "as well": 0, "at best": -1, "last long": 1, "lasts long": 1, "works well": 2, "worked well": 2,
    "holds up": 2, "held up": 2, "hold up": 1, "would like": 0, "would love": 0, "wanted to love": -2, "hard time": -1,
    "smells good": 2, "smells great": 2, "smells amazing": 2, "smells nice": 2, "smell good": 2,
}  # fmt: skip
"""Two words, sometimes three, that say something else than their sum; the longest that fits is read."""
_NEGATORS = """
    not no never none nothing nobody neither nor cannot cant dont doesnt didnt wont wouldnt isnt wasnt arent werent
    couldnt shouldnt havent hasnt hadnt aint without hardly barely scarcely
"""
_STRENGTHS = {
    1.4: "very really so extremely super absolutely totally completely highly incredibly truly",
    1.2: "too such quite definitely exactly seriously especially particularly way much",
    0.6: "somewhat slightly kinda sorta fairly little bit rather almost partly",
}
_CONTRASTS = "but however although though yet except unfortunately sadly"


def _listed(words: str) -> list[str]:
    return words.split()


VALENCES: Mapping[str, int] = {word: value for value, words in _WORDS.items() for word in _listed(words)}
NEGATORS = frozenset(_listed(_NEGATORS))
"""Without apostrophes: "don't" is read as "dont"."""
INTENSIFIERS: Mapping[str, float] = {word: by for by, words in _STRENGTHS.items() for word in _listed(words)}
CONTRASTS = frozenset(_listed(_CONTRASTS))
"""What comes after these is what the shopper ends on."""
