// SPDX-License-Identifier: GPL-2.0-or-later
//
// Applies -o options to a draft, in the order given.
#pragma once

#include <span>

#include "config/draft.h"
#include "config/option_list.h"

namespace plyfs::config {

// `where` gives the source and the directory; its key is replaced by each option's. With `sloppy`
// (mount -s) an unknown option is a warning. `config=FILE` is skipped: load() has read the file
// before, since the command line goes over it; so are the options of overlay_form.h. Setting a
// category's policy drops the policies set before for single functions of that category, as in
// mergerfs.
ConfigErrors apply_options(std::span<const Option> options, const Location& where, bool sloppy,
                           Draft& draft);

// The names that an unknown option may have been meant to be, in order of the alphabet.
std::vector<std::string_view> known_options();

}  // namespace plyfs::config
