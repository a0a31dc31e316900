"""The five steps of `chat_completion_pipeline`, in order: validate, model_import, preprocess, finetune, convert.

Only finetune imports torch: a process that does so needs more than ten seconds for that alone.
"""
