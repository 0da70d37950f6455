"""From training rows to an adapter: LoRA supervised fine-tuning."""
