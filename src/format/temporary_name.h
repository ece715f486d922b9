// SPDX-License-Identifier: GPL-2.0-or-later
//
// Names of temporary objects in a work directory: `#` and a hexadecimal number, as overlayfs calls
// its own (ovl_lookup_temp), so that either sweeps what the other left.
#pragma once

#include <string>
#include <string_view>

#include "sys/name.h"
#include "sys/result.h"

namespace plyfs::format {

// One that this process has not used before. Thread-safe.
std::string temporary_name();

bool is_temporary_name(std::string_view name) noexcept;

// Calls make(Name) with one temporary name after the other until it does not say EEXIST: the name
// that was made. Else the error of `make`.
template <typename Make>
Result<std::string> make_temporary(Make&& make) {
    for (;;) {
        std::string name = temporary_name();
        const Result<void> made = make(TRY(Name::from(name)));
        if (made) return name;
        if (made.error() != EEXIST) return fail(made.error());
    }
}

}  // namespace plyfs::format
