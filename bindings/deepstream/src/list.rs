//! GLib's lists, as the metadata uses them. Of objects the newest come first, and a copy of a batch turns their order
//! round; of frames the oldest come first. Nobody may rely on either.

use std::marker::PhantomData;
use std::ptr::NonNull;

use glib_sys::GList;

/// The entries of a list that nobody changes during `'a`.
#[derive(Debug)]
pub(crate) struct List<'a, T> {
    node: *mut GList,
    entries: PhantomData<(&'a (), *mut T)>,
}

impl<T> List<'_, T> {
    /// # Safety
    /// `head` is null or the head of an intact list whose data pointers are null or point to a `T`; for `'a` neither the
    /// list is changed nor its entries freed.
    pub(crate) unsafe fn new(head: *mut GList) -> Self {
        List { node: head, entries: PhantomData }
    }
}

impl<T> Iterator for List<'_, T> {
    type Item = NonNull<T>;

    fn next(&mut self) -> Option<NonNull<T>> {
        while !self.node.is_null() {
            // SAFETY: not null, and `new` demands an intact list that stays as it is.
            let (data, next) = unsafe { ((*self.node).data, (*self.node).next) };
            self.node = next;
            if let Some(entry) = NonNull::new(data.cast()) {
                return Some(entry);
            }
        }
        None
    }
}
