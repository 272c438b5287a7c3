//! What must hold for any graph: a naive matcher agrees, and names and order do not matter.
