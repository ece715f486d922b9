// SPDX-License-Identifier: GPL-2.0-or-later
//
// One component of a path, validated: what every system call of plyfs takes beside a directory
// descriptor, so that no path is ever joined from strings.
#pragma once

#include <climits>
#include <cstring>
#include <string>
#include <string_view>

#include "sys/result.h"

namespace plyfs {

// A view of a NUL-terminated component: not empty, no slash, neither "." nor "..", at most
// NAME_MAX bytes. Does not own its bytes: valid as long as what it was made from.
class Name {
public:
    // EINVAL: empty, ".", ".." or holds a slash. ENAMETOOLONG: longer than NAME_MAX bytes.
    static Result<Name> from(const char* text) {
        const std::size_t size = std::strlen(text);
        if (size > NAME_MAX) return fail(ENAMETOOLONG);
        const std::string_view view(text, size);
        if (view.empty() || view == "." || view == ".." ||
            view.find('/') != std::string_view::npos) {
            return fail(EINVAL);
        }
        return Name(text, size);
    }
    static Result<Name> from(const std::string& text) {
        if (text.find('\0') != std::string::npos) return fail(EINVAL);
        return from(text.c_str());
    }
    static Result<Name> from(std::string&&) = delete;

    const char* c_str() const noexcept { return text_; }
    std::string_view view() const noexcept { return {text_, size_}; }
    std::string string() const { return std::string(view()); }

    friend bool operator==(Name left, Name right) noexcept { return left.view() == right.view(); }

private:
    Name(const char* text, std::size_t size) noexcept : text_(text), size_(size) {}

    const char* text_;
    std::size_t size_;
};

}  // namespace plyfs
