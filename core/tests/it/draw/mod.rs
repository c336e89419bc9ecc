//! How the property tests draw what the models are asked. The models know
//! nothing of it, so that others can make cases in their own way.

pub(crate) mod lasting;
pub(crate) mod usual;
