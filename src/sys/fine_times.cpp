// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/fine_times.h"

#include <fcntl.h>

#include "sys/attributes.h"
#include "sys/metadata.h"
#include "sys/open.h"
#include "sys/result.h"
#include "sys/statx.h"

namespace plyfs::sys {
namespace {

// By chance a tick ends between two changes; hardly between each two of so many.
constexpr int kChanges = 8;

Result<bool> tells_changes_apart(int directory) {
    const UniqueFd file = TRY(open_temporary(directory, O_RDWR | O_EXCL, 0600));
    Timestamp before = TRY(stat_descriptor(file.get())).change_time;
    for (int change = 0; change < kChanges; ++change) {
        TRY(change_mode(file.get(), change % 2 == 0 ? 0400 : 0600));
        const Timestamp after = TRY(stat_descriptor(file.get())).change_time;
        if (after == before) return false;
        before = after;
    }
    return true;
}

}  // namespace

bool has_fine_times(int directory) {
    return tells_changes_apart(directory).value_or(false);
}

}  // namespace plyfs::sys
