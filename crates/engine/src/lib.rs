//! Runs graphs: whole, in pieces, with every intermediate tensor observed.
