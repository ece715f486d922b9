// SPDX-License-Identifier: GPL-2.0-or-later
//
// Everything that reads configuration text, from memory. The first byte of an input picks the
// reader: Y a YAML file, O mount options, B a branch list, M a mount table, U sizes and durations.
// The invariants beyond «does not crash»: errors can be printed, and what is printed loads again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "config/configuration.h"
#include "config/mount_options.h"
#include "config/mount_table.h"
#include "config/units.h"
#include "config/yaml_reader.h"

using namespace plyfs::config;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

void print(const ConfigErrors& errors) {
    for (const ConfigError& error : errors) {
        const std::string text = to_text(error);
        require(!text.empty() && text.find('\n') == std::string::npos);
    }
}

// A draft's options, printed and read again, are the same. YAML cannot hold what is not UTF-8.
void print_and_read(const Draft& draft) {
    for (const std::string* text : {&draft.options.fsname, &draft.options.subtype,
                                    &draft.options.logging.target, &draft.options.mountpoint})
        for (const char c : *text)
            if (static_cast<unsigned char>(c) >= 0x80) return;
    Draft again;
    print(read_yaml(dump(draft.options), "dump", "/", again));
    require(again.options == draft.options);
}

void read_yaml_text(std::string_view text) {
    Draft draft;
    const ConfigErrors errors = read_yaml(text, "f.yaml", "/base", draft);
    print(errors);
    if (errors.empty()) print_and_read(draft);
}

void read_options(std::string_view text) {
    Draft draft;
    const auto options = split_options(text);
    const ConfigErrors errors =
        apply_options(options, {"-o options", "/base", 0, 0, ""}, false, draft);
    print(errors);
    if (errors.empty()) print_and_read(draft);
}

void read_branches(std::string_view text) {
    std::vector<BranchPattern> branches;
    ConfigErrors errors;
    parse_branch_list(text, {}, branches, errors);
    require(!branches.empty() || !errors.empty());
    for (const BranchPattern& branch : branches)
        require(!branch.path.empty() && branch.path.find('\0') == std::string::npos);
    print(errors);
}

void read_numbers(std::string_view text) {
    if (const auto size = parse_size(text)) require(*parse_size(format_size(*size)) == *size);
    if (const auto duration = parse_duration(text))
        require(*parse_duration(format_duration(*duration)) == *duration);
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer looks for this name.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0]) {
        case 'Y': read_yaml_text(text); break;
        case 'O': read_options(text); break;
        case 'B': read_branches(text); break;
        case 'M': parse_mount_table(text); break;
        case 'U': read_numbers(text); break;
        default: return -1;  // not worth keeping in the corpus
    }
    return 0;
}
