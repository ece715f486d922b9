// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/layer_writer.h"

namespace plyfs {

Result<LayerWriter::Choice> LayerWriter::choose() {
    if (format_) return Choice{*format_};
    const int work = TRY(work_.work());
    const Choice chosen = format::choose_format(TRY(format::probe_marks(work)), wish_);
    if (chosen) format_ = *chosen;
    return chosen;
}

Result<format::MarkFormat> LayerWriter::known_format() {
    const Choice chosen = TRY(choose());
    if (!chosen) return fail(EOPNOTSUPP);
    return *chosen;
}

Result<std::optional<format::MarkRefusal>> LayerWriter::refusal() {
    if (!wish_.names && !wish_.whiteout) return std::nullopt;
    const Lock lock(mutex_);
    const Choice chosen = TRY(choose());
    if (chosen) return std::nullopt;
    return chosen.error();
}

Result<format::MarkFormat> LayerWriter::format() {
    const Lock lock(mutex_);
    return known_format();
}

Result<format::WhiteoutMaker*> LayerWriter::whiteouts() {
    const Lock lock(mutex_);
    if (!whiteouts_) {
        const format::MarkFormat format = TRY(known_format());
        whiteouts_ = std::make_unique<format::WhiteoutMaker>(TRY(work_.work()), format);
    }
    return whiteouts_.get();
}

void LayerWriter::release() {
    const Lock lock(mutex_);
    if (!whiteouts_) return;
    (void)whiteouts_->release();  // a name left in the work directory is swept by the next mount
    whiteouts_.reset();
}

}  // namespace plyfs
