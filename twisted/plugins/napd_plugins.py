from twisted.application.service import ServiceMaker

napindex = ServiceMaker(
    "napd index", "napd.index.tap", "The index: who is online, what they share, search.", "napindex"
)
nappeer = ServiceMaker("napd peer", "napd.peer.tap", "A peer: shares, downloads, uploads; obeys napctl.", "nappeer")
