"""The release's defect, for comparison: swapped negatives are lost when the text is masked; only their mask stays."""

import numpy as np
import torch

from ecgtext_plugins.data.ecg_text_dataset import EcgTextDataset
from ecgtext_plugins.data.text_plan import text_plan
from ecgtext_plugins.text.tokenization import tokenise


class LosesNegatives(EcgTextDataset):
    """Rows that say they are swapped show their own report, masked, under the attention mask of the negative."""

    def collater(self, samples):
        """As the release's collator: the text is built again from the original reports."""
        batch = super().collater(samples)
        if not batch:
            return batch
        net_input, target = batch["net_input"], batch["target"]
        texts = [self.manifest.store.report_text(int(report)) for report in target["report_id"]]
        ids, attention = (np.asarray(array) for array in tokenise(self.tokenizer, texts, self.options.max_text_tokens))
        length = net_input["text"].shape[1]
        ids = np.pad(ids, ((0, 0), (0, length)), constant_values=self.tokenizer.pad_token_id)[:, :length]
        attention = np.pad(attention, ((0, 0), (0, length)))[:, :length]
        aligned = target["is_aligned"].numpy().astype(bool)
        masked, labels = self._mask_reports(batch["id"].numpy(), ids, attention, aligned)
        lengths = (~net_input["text_padding_mask"]).sum(1).numpy()
        net_input["text"] = torch.from_numpy(masked)
        net_input["text_plan"] = text_plan(lengths, np.arange(len(lengths)), labels, self.options.text_length_groups)
        target["mlm_labels"] = torch.from_numpy(labels)
        target["mlm_scored"] = torch.from_numpy(labels[labels >= 0])
        return batch
