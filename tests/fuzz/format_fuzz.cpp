// SPDX-License-Identifier: GPL-2.0-or-later
//
// Everything that decodes marks, which whoever can write a branch can forge. The first byte of an
// input picks the decoder: H a handle record, R a redirect, M a metacopy, L a link count, I a name
// in the index, P inode flags, E an attribute's name. The invariants beyond «does not crash»: what
// is understood is written again so that it reads the same, and leads nowhere else.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "format/escape.h"
#include "format/handle_record.h"
#include "format/index_name.h"
#include "format/link_count.h"
#include "format/metacopy.h"
#include "format/protection.h"
#include "format/redirect.h"
#include "format/whiteout.h"

using namespace plyfs;
using namespace plyfs::format;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

void decode_handle(std::string_view bytes) {
    const auto record = decode_handle_record(bytes);
    if (!record) return;
    const std::string again = encode(*record);
    require(again.size() <= bytes.size() && again.size() <= 255 && !record->handle.empty());
    require(*decode_handle_record(again) == *record);
    if (const auto name = index_name(*record)) require(*parse_index_name(*name) == *record);
}

void decode_redirect(std::string_view bytes) {
    const auto redirect = parse_redirect(bytes);
    if (!redirect) return;
    require(!redirect->components.empty());
    for (const std::string& component : redirect->components)
        require(Name::from(component).has_value());
    require(*encode(*redirect, bytes.size()) == bytes);
}

void decode_metacopy(std::string_view bytes) {
    const auto metacopy = parse_metacopy(bytes);
    if (!metacopy) return;
    const auto again = parse_metacopy(*encode(*metacopy));
    // Without algorithm and flags the digest says nothing and is dropped.
    const bool says_nothing = metacopy->flags == 0 && metacopy->digest_algorithm == 0;
    require(*again == (says_nothing ? Metacopy{} : *metacopy));
}

void decode_link_count(std::string_view bytes) {
    const auto count = parse_link_count(bytes);
    if (!count) return;
    require(parse_link_count(encode(*count)) == *count);
    require(shown_links(*count, 1, 0xffffffffU) != 0U);
}

void decode_index_name(std::string_view bytes) {
    if (const auto record = parse_index_name(bytes)) {
        const auto name = index_name(*record);
        require(!name || *parse_index_name(*name) == *record);
    }
    const auto hidden = hidden_by_dot_file(bytes);
    require(!hidden || (!hidden->empty() && hidden->size() + 4 == bytes.size()));
}

void decode_protection(std::string_view bytes) {
    const auto protection = parse_protection(bytes);
    if (protection) require(parse_protection(encode(*protection)) == *protection);
}

void rename_attribute(std::string_view bytes) {
    const MarkRules all;
    if (const auto stored = stored_xattr_name(bytes, all)) {
        require(!is_mark_name(*stored, all));
        require(shown_xattr_name(*stored, all) == bytes);
    }
    if (const auto shown = shown_xattr_name(bytes, all)) {
        const auto stored = stored_xattr_name(*shown, all);
        require(!stored || *stored == bytes);
    }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer looks for this name.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0]) {
        case 'H': decode_handle(bytes); break;
        case 'R': decode_redirect(bytes); break;
        case 'M': decode_metacopy(bytes); break;
        case 'L': decode_link_count(bytes); break;
        case 'I': decode_index_name(bytes); break;
        case 'P': decode_protection(bytes); break;
        case 'E': rename_attribute(bytes); break;
        default: return -1;  // not worth keeping in the corpus
    }
    return 0;
}
