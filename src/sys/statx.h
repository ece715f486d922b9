// SPDX-License-Identifier: GPL-2.0-or-later
//
// statx(2). Symlinks are never followed, automounts never triggered.
#pragma once

#include "sys/attributes.h"
#include "sys/name.h"
#include "sys/result.h"

namespace plyfs::sys {

// The object `name` of `directory`. Errnos: those of statx(2).
Result<Attributes> stat_at(int directory, Name name);

// The object that `descriptor` (O_PATH will do) is open on.
Result<Attributes> stat_descriptor(int descriptor);

}  // namespace plyfs::sys
