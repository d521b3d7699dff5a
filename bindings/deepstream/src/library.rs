//! The libraries and the guard that decides whether they may be used.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

use aivms_deepstream_sys::{Functions, LoadError, NvDsBatchMeta, NvDsMetaPool, abi71, abi90};

use crate::{Abi, own};

/// Where the SDK's packages put it.
const INSTALLED: &str = "/opt/nvidia/deepstream/deepstream";

/// The library that tells where both are.
const META: &str = "libnvds_meta.so";

/// An opened and checked set of the metadata's functions. Once opened, NVIDIA's libraries stay for the whole process.
#[derive(Debug)]
pub struct Library {
    functions: Functions,
    abi: Abi,
    name: PathBuf,
}

/// Why the libraries can't be used. Each text ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such file, or the system's loader refused it.
    #[error(
        "cannot open {}: {reason}; install DeepStream 7.1, 9.0 or 9.1, or set DEEPSTREAM_DIR to its folder",
        library.display()
    )]
    Open {
        /// What was to be opened.
        library: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// It is not the library that its name says.
    #[error("{} has no function {function}; install DeepStream 7.1, 9.0 or 9.1", library.display())]
    Function {
        /// What was opened.
        library: PathBuf,
        /// What it lacks.
        function: &'static str,
    },
    /// Its structs have sizes that nobody here knows.
    #[error(
        "{} was built with an unknown layout: {found}. Known are {} ({}) and {} ({}). Install one of these versions, or an \
         AIVMS that knows the new one",
        library.display(), Sizes::of(Abi::V71), Abi::V71, Sizes::of(Abi::V90), Abi::V90
    )]
    Layout {
        /// What was opened.
        library: PathBuf,
        /// What its pools say.
        found: Sizes,
    },
    /// It is of another version than the one asked for.
    #[error(
        "{} has the layout of {found} ({}), but {expected} ({}) is expected. Install the version that the program was set \
         up for, or set it up for {found}",
        library.display(), Sizes::of(*found), Sizes::of(*expected)
    )]
    Unexpected {
        /// What was opened.
        library: PathBuf,
        /// What it has.
        found: Abi,
        /// What was asked for.
        expected: Abi,
    },
    /// Its pools look like 7.1, but the SDK's own version file names an older one, whose tensor metadata is shorter.
    #[error("{} is of DeepStream {version}; its tensor metadata differs from 7.1's. Install DeepStream 7.1, 9.0 or 9.1", library.display())]
    Version {
        /// What was opened.
        library: PathBuf,
        /// What its version file says.
        version: String,
    },
}

/// Bytes that an object, a frame and user metadata take. They tell the layouts apart, and the pools of every version
/// tell them at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Of `NvDsObjectMeta`.
    pub object: u32,
    /// Of `NvDsFrameMeta`.
    pub frame: u32,
    /// Of `NvDsUserMeta`.
    pub user: u32,
}

impl Sizes {
    /// What a library of this layout has.
    pub const fn of(abi: Abi) -> Sizes {
        match abi {
            Abi::V71 => Sizes {
                object: size_of::<abi71::NvDsObjectMeta>() as u32,
                frame: size_of::<abi71::NvDsFrameMeta>() as u32,
                user: size_of::<abi71::NvDsUserMeta>() as u32,
            },
            Abi::V90 => Sizes {
                object: size_of::<abi90::NvDsObjectMeta>() as u32,
                frame: size_of::<abi90::NvDsFrameMeta>() as u32,
                user: size_of::<abi90::NvDsUserMeta>() as u32,
            },
        }
    }

    /// The layout that has these sizes.
    fn abi(self) -> Option<Abi> {
        [Abi::V71, Abi::V90].into_iter().find(|&abi| Sizes::of(abi) == self)
    }

    /// What a batch's own pools say.
    ///
    /// # Safety
    /// The batch lives and was made by a version of the library since 5.0: the places read never changed.
    pub(crate) unsafe fn of_batch(batch: NonNull<NvDsBatchMeta>) -> Sizes {
        let size = |pool: *mut NvDsMetaPool| {
            // SAFETY: the pools live as long as their batch.
            if pool.is_null() { 0 } else { unsafe { (*pool).element_size } }
        };
        let batch = batch.as_ptr();
        // SAFETY: the batch lives.
        let (object, frame, user) =
            unsafe { ((*batch).obj_meta_pool, (*batch).frame_meta_pool, (*batch).user_meta_pool) };
        Sizes { object: size(object), frame: size(frame), user: size(user) }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sizes { object, frame, user } = self;
        write!(formatter, "object {object}, frame {frame}, user metadata {user} bytes")
    }
}

impl Library {
    /// Opens NVIDIA's metadata libraries and checks their layout. `dir` is their folder or that of an SDK; without it
    /// they are looked for in `DEEPSTREAM_DIR`, where the SDK installs itself, and by the system's loader.
    pub fn open(dir: Option<&Path>) -> Result<Arc<Library>, OpenError> {
        let folder = find(dir);
        let loaded =
            Functions::load(folder.as_deref()).map_err(|LoadError { library, function, source }| match function {
                Some(function) => OpenError::Function { library, function },
                None => OpenError::Open { library, reason: source.to_string() },
            })?;
        let library = Library::checked(loaded.functions, loaded.library)?;
        if library.abi == Abi::V71
            && let Some(version) = older_than_7_1(&library.name)
        {
            return Err(OpenError::Version { library: library.name, version });
        }
        Ok(Arc::new(library))
    }

    /// Opens them and refuses any layout but this.
    pub fn open_expecting(dir: Option<&Path>, abi: Abi) -> Result<Arc<Library>, OpenError> {
        Library::open(dir)?.expecting(abi)
    }

    /// Our own implementation of the same functions over the same structs, for machines without NVIDIA's. A buffer's
    /// metadata made by it is invisible to NVIDIA's libraries, and the other way round.
    pub fn own(abi: Abi) -> Arc<Library> {
        let functions = own::functions(abi);
        Arc::new(Library { functions, abi, name: PathBuf::from(format!("own library for {abi}")) })
    }

    /// Itself if it has this layout.
    pub fn expecting(self: Arc<Self>, expected: Abi) -> Result<Arc<Library>, OpenError> {
        // The pools say it again, whatever this value believes of itself.
        let found = Library::checked(self.functions, self.name.clone())?.abi;
        if found == expected {
            Ok(self)
        } else {
            Err(OpenError::Unexpected { library: self.name.clone(), found, expected })
        }
    }

    /// The layout that the library was built with.
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// The file that was opened, or what stands for our own.
    pub fn name(&self) -> &Path {
        &self.name
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.functions
    }

    /// The guard: makes a batch of one frame, asks its pools for the sizes, frees it. Needs no pipeline and no GPU.
    fn checked(functions: Functions, name: PathBuf) -> Result<Library, OpenError> {
        // SAFETY: makes a batch that is on no buffer; its pools are at the same place in every version; it is freed once.
        let found = unsafe {
            match NonNull::new((functions.nvds_create_batch_meta)(1)) {
                Some(batch) => {
                    let sizes = Sizes::of_batch(batch);
                    (functions.nvds_destroy_batch_meta)(batch.as_ptr());
                    sizes
                }
                None => Sizes { object: 0, frame: 0, user: 0 },
            }
        };
        match found.abi() {
            Some(abi) => Ok(Library { functions, abi, name }),
            None => Err(OpenError::Layout { library: name, found }),
        }
    }
}

/// The folder to open from; `None` leaves it to the system's loader.
fn find(dir: Option<&Path>) -> Option<PathBuf> {
    if let Some(dir) = dir {
        let below = dir.join("lib");
        return Some(if below.join(META).is_file() { below } else { dir.to_owned() });
    }
    let named = env::var_os("DEEPSTREAM_DIR").filter(|value| !value.is_empty());
    [named.as_deref(), Some(OsStr::new(INSTALLED))]
        .into_iter()
        .flatten()
        .flat_map(|root| [Path::new(root).join("lib"), PathBuf::from(root)])
        .find(|folder| folder.join(META).is_file())
}

/// What the SDK's version file, beside the folder of its libraries, says if that is a version before 7.1.
fn older_than_7_1(library: &Path) -> Option<String> {
    let text = std::fs::read_to_string(library.parent()?.parent()?.join("version")).ok()?;
    let version = first_version(&text)?;
    (version < (7, 1)).then(|| format!("{}.{}", version.0, version.1))
}

/// The first "number.number" of a text.
fn first_version(text: &str) -> Option<(u32, u32)> {
    text.split(|character: char| !character.is_ascii_digit() && character != '.').find_map(|word| {
        let mut numbers = word.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands for a library of DeepStream 8.0, whose objects are still short and whose frames are already long.
    unsafe extern "C" fn batch_of_8_0(size: u32) -> *mut NvDsBatchMeta {
        let functions = own::functions(Abi::V71);
        // SAFETY: the batch is new and its pools live.
        unsafe {
            let batch = (functions.nvds_create_batch_meta)(size);
            (*(*batch).frame_meta_pool).element_size = 232;
            batch
        }
    }

    #[test]
    fn a_library_of_unknown_sizes_is_refused_with_all_sizes_and_what_to_do() {
        let functions = Functions { nvds_create_batch_meta: batch_of_8_0, ..own::functions(Abi::V71) };
        let error = Library::checked(functions, "/some/libnvds_meta.so".into()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, OpenError::Layout { .. }));
        for part in [
            "/some/libnvds_meta.so",
            "object 544, frame 232, user metadata 48 bytes. Known are",
            "object 544, frame 200, user metadata 48 bytes (DeepStream 7.1)",
            "object 552, frame 232, user metadata 48 bytes (DeepStream 9.0 or 9.1)",
            "Install one of these versions",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }

    #[test]
    fn the_guard_recognises_both_layouts_by_the_pools_alone() {
        for abi in [Abi::V71, Abi::V90] {
            assert_eq!(Library::checked(own::functions(abi), "own".into()).unwrap().abi(), abi);
        }
    }

    #[test]
    fn a_version_file_older_than_7_1_is_noticed_and_others_are_not() {
        let folder = std::env::temp_dir().join(format!("aivms-version-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("lib")).unwrap();
        let library = folder.join("lib").join(META);
        let said = |text: &str| {
            std::fs::write(folder.join("version"), text).unwrap();
            older_than_7_1(&library)
        };
        assert_eq!(said("Version: 7.0\nGCID: 36079899\n").as_deref(), Some("7.0"));
        assert_eq!(said("DeepStreamSDK 6.3.0").as_deref(), Some("6.3"));
        assert_eq!(said("Version: 7.1\n"), None);
        assert_eq!(said("Version: unknown\n"), None);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(older_than_7_1(&library), None);
    }
}
