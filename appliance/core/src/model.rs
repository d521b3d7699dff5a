//! Model description files: what a detector wants and what it gives.
