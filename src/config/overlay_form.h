// SPDX-License-Identifier: GPL-2.0-or-later
//
// The form that mount -t overlay and fuse-overlayfs have: options name what is united, and there is
// no list of branches.
//
//   lowerdir=TOP:...:BOTTOM,upperdir=UPPER,workdir=WORK
//
// Text only; nothing is looked up on disk. A backslash takes the next character as it is, as in the
// kernel, so `\:` is a colon in a path and `\,` a comma.
#pragma once

#include <span>
#include <string_view>

#include "config/draft.h"
#include "config/option_list.h"

namespace plyfs::config {

// lowerdir, upperdir and so on.
std::span<const std::string_view> overlay_options();
bool is_overlay_option(std::string_view option);

// Whether any of them is there.
bool is_overlay_form(std::span<const Option> options);

// Replaces the draft's branches by these directories, and says in it that this is the form.
// `lowerdir` given again replaces the layers before, `lowerdir+` adds one.
ConfigErrors read_overlay_form(std::span<const Option> options, const Location& where,
                               Draft& draft);

}  // namespace plyfs::config
