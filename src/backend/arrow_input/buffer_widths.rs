//! The sizes of the elements in the buffers of a record batch.
//!
//! The decoder reads offsets, views and keys as numbers of their size, and would panic over a buffer that ends within one.

use arrow_ipc::RecordBatch;
use arrow_schema::DataType;

/// A buffer that may have any size.
const ANY: usize = 1;

const VIEW: usize = 16;

/// The most buffers of one array of views; one of 2 MiB each is usual.
const MOST_BUFFERS: usize = 65_536;

/// Returns true if each buffer of a batch of these types consists of whole elements.
pub(super) fn has_whole_elements<'a>(
    types: impl IntoIterator<Item = &'a DataType>,
    batch: RecordBatch<'_>,
) -> bool {
    let Some(buffers) = batch.buffers() else { return false };
    let mut views = batch.variadicBufferCounts().into_iter().flatten();
    let mut widths = Vec::new();
    for data_type in types {
        if add(data_type, &mut views, &mut widths).is_none() || widths.len() > buffers.len() {
            return false;
        }
    }
    let sizes = buffers.iter().map(|buffer| usize::try_from(buffer.length()).unwrap_or_default());
    sizes.zip(widths).all(|(size, width)| size.is_multiple_of(width))
}

/// Adds the sizes for the buffers of a type, in their order; `views` counts the buffers behind those of each view. Returns
/// `None` if they cannot be.
fn add(
    data_type: &DataType,
    views: &mut impl Iterator<Item = i64>,
    widths: &mut Vec<usize>,
) -> Option<()> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others have one size, or were refused")]
    match data_type {
        DataType::Null => {}
        DataType::Utf8 | DataType::Binary => widths.extend([ANY, size_of::<i32>(), ANY]),
        DataType::LargeUtf8 | DataType::LargeBinary => widths.extend([ANY, size_of::<i64>(), ANY]),
        DataType::Utf8View | DataType::BinaryView => {
            widths.extend([ANY, VIEW]);
            let data =
                usize::try_from(views.next()?).ok().filter(|count| *count <= MOST_BUFFERS)?;
            widths.extend(std::iter::repeat_n(ANY, data));
        }
        DataType::List(element) => {
            widths.extend([ANY, size_of::<i32>()]);
            add(element.data_type(), views, widths)?;
        }
        DataType::LargeList(element) => {
            widths.extend([ANY, size_of::<i64>()]);
            add(element.data_type(), views, widths)?;
        }
        DataType::FixedSizeList(element, _) => {
            widths.push(ANY);
            add(element.data_type(), views, widths)?;
        }
        DataType::Dictionary(key, _) => widths.extend([ANY, key.primitive_width()?]),
        other => widths.extend([ANY, other.primitive_width().unwrap_or(ANY)]),
    }
    Some(())
}
