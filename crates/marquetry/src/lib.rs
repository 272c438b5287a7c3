//! Facade library and command line of Marquetry.
