// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

namespace plyfs::sys {

// Whether each change of a file gets a change time of its own once statx(2) has told the one before
// (multigrain timestamps: Linux 6.13, of the file systems that take part). Elsewhere times count in
// ticks: of the kernel, a few milliseconds, or of what is stored, up to 2 s. Tried out on an
// unnamed file in `directory` (O_PATH will do); false, too, where none can be made.
bool has_fine_times(int directory);

}  // namespace plyfs::sys
