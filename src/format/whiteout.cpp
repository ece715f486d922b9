// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/whiteout.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "sys/open.h"
#include "sys/statx.h"

namespace plyfs::format {
namespace {

constexpr std::string_view kPrefix = ".wh.";
constexpr std::string_view kOwnPrefix = ".wh..wh.";

}  // namespace

bool is_device_whiteout(const Attributes& attributes) noexcept {
    return S_ISCHR(attributes.mode) && attributes.device_number == 0;
}

std::optional<std::string_view> hidden_by_dot_file(std::string_view name) noexcept {
    if (!name.starts_with(kPrefix) || name.starts_with(kOwnPrefix)) return std::nullopt;
    name.remove_prefix(kPrefix.size());
    if (name.empty() || name == "." || name == "..") return std::nullopt;
    return name;
}

bool is_reserved_name(std::string_view name, const MarkRules& rules) noexcept {
    return rules.dot_files && name.starts_with(kPrefix);
}

Result<std::string> dot_file_name(Name name) {
    if (name.view().starts_with(kPrefix)) return fail(EINVAL);
    std::string text = std::string(kPrefix).append(name.view());
    if (text.size() > NAME_MAX) return fail(ENAMETOOLONG);
    return text;
}

Result<bool> is_whiteout(int directory, Name name, const Attributes& attributes,
                         const DirectoryMarks& parent, const MarkRules& rules) {
    if (is_device_whiteout(attributes)) return true;
    if (!parent.whiteout_files || !attributes.is_regular() || attributes.size != 0) return false;
    const UniqueFd object = TRY(sys::open_at(directory, name, O_PATH));
    if (TRY(sys::stat_descriptor(object.get())).real != attributes.real) return fail(ESTALE);
    return TRY(read_mark(object.get(), Mark::Whiteout, rules)).has_value();
}

Result<bool> has_dot_whiteout(int directory, Name name, const MarkRules& rules) {
    if (!rules.dot_files) return false;
    const auto text = dot_file_name(name);
    if (!text) return false;
    const auto found = sys::stat_at(directory, TRY(Name::from(*text)));
    if (found) return true;
    if (found.error() == ENOENT || found.error() == ENAMETOOLONG) return false;
    return fail(found.error());
}

Result<Sighting> look(int directory, Name name, const DirectoryMarks& parent,
                      const MarkRules& rules, Below below) {
    Sighting seen;
    if (is_reserved_name(name.view(), rules)) return seen;
    const auto attributes = sys::stat_at(directory, name);
    if (attributes) {
        const bool hides = TRY(is_whiteout(directory, name, *attributes, parent, rules));
        seen.kind = hides ? Sighting::Kind::Whiteout : Sighting::Kind::Object;
        seen.attributes = *attributes;
        return seen;
    }
    if (attributes.error() != ENOENT && attributes.error() != ENAMETOOLONG) {
        return fail(attributes.error());
    }
    if (below == Below::Something && TRY(has_dot_whiteout(directory, name, rules))) {
        seen.kind = Sighting::Kind::Whiteout;
    }
    return seen;
}

Result<DirectoryMarks> marks_of_child(int parent, Name name, int child, const MarkRules& rules) {
    DirectoryMarks marks = TRY(directory_marks(child, rules));
    if (!marks.opaque) marks.opaque = TRY(has_dot_whiteout(parent, name, rules));
    return marks;
}

EntryKind kind_of_entry(std::string_view name, unsigned char type, const DirectoryMarks& parent,
                        const MarkRules& rules) noexcept {
    if (is_reserved_name(name, rules)) {
        return hidden_by_dot_file(name) ? EntryKind::DotWhiteout : EntryKind::Hidden;
    }
    if (type == DT_CHR || type == DT_UNKNOWN) return EntryKind::Possible;
    if (type == DT_REG && parent.whiteout_files) return EntryKind::Possible;
    return EntryKind::Object;
}

}  // namespace plyfs::format
