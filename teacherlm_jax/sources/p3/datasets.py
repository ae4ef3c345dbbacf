"""Datasets of P3-Sense-3K, and the prompts that P3 publishes for each.

A task is a dataset with one of its prompts, in P3's folder DATASET_PROMPT.
"""

_ARC = (
    "heres_a_problem i_am_hesitating multiple_choice pick_false_options "
    "pick_the_most_correct_option qa_options"
)
_ADVERSARIAL = (
    "answer_the_following_q based_on generate_question question_context_answer tell_what_it_is"
)
_DUORC = (
    "answer_question build_story_around_qa decide_worth_it extract_answer generate_question "
    "generate_question_by_answer movie_director question_answering title_generation"
)
_RACE = (
    "Is_this_the_right_answer Read_the_article_and_answer_the_question_no_option_ "
    "Select_the_best_answer Select_the_best_answer_generate_span_ "
    "Select_the_best_answer_no_instructions_ Taking_a_test "
    "Write_a_multi_choice_question_for_the_following_article "
    "Write_a_multi_choice_question_options_given_"
)
_CB = (
    "GPT_3_style MNLI_crowdsource always_sometimes_never based_on_the_previous_passage "
    "can_we_infer claim_true_false_inconclusive consider_always_sometimes_never "
    "does_it_follow_that does_this_imply guaranteed_possible_impossible guaranteed_true "
    "justified_in_saying must_be_true should_assume take_the_following_as_truth"
)
_ANLI = " ".join(f"{prompt}_r{number}" for prompt in _CB.split() for number in (1, 2, 3))

# Grouped by type of task, as in T0.
_PROMPTS = {
    # Coreference
    "super_glue_wsc.fixed": (
        "GPT_3_Style I_think_they_mean Who_or_what_is_are by_p_they_mean does_p_stand_for "
        "does_the_pronoun_refer_to in_other_words p_is_are_r replaced_with the_pronoun_refers_to"
    ),
    "winogrande_winogrande_xl": (
        "Replace does_underscore_refer_to fill_in_the_blank stand_for underscore_refer_to"
    ),
    # Natural language inference
    "super_glue_cb": _CB,
    "super_glue_rte": (
        "GPT_3_style MNLI_crowdsource based_on_the_previous_passage can_we_infer "
        "does_it_follow_that does_this_imply guaranteed_true justified_in_saying must_be_true "
        "should_assume"
    ),
    "anli": _ANLI,
    # Paraphrase
    "glue_mrpc": (
        "equivalent generate_paraphrase generate_sentence paraphrase replace same_thing "
        "want_to_know"
    ),
    "glue_qqp": "answer duplicate duplicate_or_not meaning quora same_thing",
    "paws_labeled_final": (
        "Concatenation Concatenation_no_label Meaning Meaning_no_label PAWS_ANLI_GPT3 "
        "PAWS_ANLI_GPT3_no_label Rewrite Rewrite_no_label context_question "
        "context_question_no_label paraphrase_task task_description_no_label"
    ),
    # Closed-book questions
    "ai2_arc_ARC_Challenge": _ARC,
    "ai2_arc_ARC_Easy": _ARC,
    "kilt_tasks_hotpotqa": (
        "combining_facts complex_question final_exam formulate straighforward_qa"
    ),
    "trivia_qa_unfiltered": (
        "first_person_context formal_description guess_question question_answer "
        "question_with_instruction"
    ),
    "web_questions": (
        "get_the_answer potential_correct_answer question_answer short_general_knowledge_q "
        "whats_the_answer"
    ),
    "wiki_qa": (
        "Decide_good_answer Direct_Answer_to_Question Generate_Question_from_Topic Is_This_True_ "
        "Jeopardy_style Topic_Prediction_Answer_Only Topic_Prediction_Question_Only "
        "Topic_Prediction_Question_and_Answer_Pair automatic_system exercise found_on_google"
    ),
    # Answers from a passage
    "adversarial_qa_dbidaf": _ADVERSARIAL,
    "adversarial_qa_dbert": _ADVERSARIAL,
    "adversarial_qa_droberta": _ADVERSARIAL,
    "duorc_SelfRC": _DUORC,
    "duorc_ParaphraseRC": _DUORC,
    "ropes": (
        "background_new_situation_answer background_situation_middle given_background_situation "
        "new_situation_background_answer plain_background_situation plain_bottom_hint "
        "plain_no_background prompt_beginning prompt_bottom_hint_beginning prompt_bottom_no_hint "
        "prompt_mix read_background_situation"
    ),
    "squad_v2": (
        "Jeopardy_with_Context Jeopardy_without_Context Questions_with_Context "
        "Questions_with_Context_Without_Prompt_Keywords "
        "Questions_with_Context_Without_Prompt_Keywords_unanswerable "
        "Questions_with_Context_unanswerable Topic_Prediction_Context "
        "Topic_Prediction_Context_with_randomized_prompt_options "
        "Topic_Prediction_Context_with_randomized_prompt_options_placed_in_the_end "
        "Topic_Prediction_Question_and_Answer_Pair Trivia Unanwerable_question"
    ),
    "super_glue_record": (
        "Add_sentence_after_after_continuation_choices_ Add_sentence_after_continuation_choices_ "
        "Can_you_figure_out_ GPT_3_style_continuation_choices_ "
        "GPT_3_style_summary_only_continuation_choices_ "
        "GPT_3_style_with_labels_continuation_choices_ "
        "GPT_3_style_with_labels_without_hyphens_continuation_choices_ "
        "GPT_3_style_without_hyphens_continuation_choices_ "
        "In_the_question_above_the_placeholder_stands_for New_highlight_continuation_choices_ "
        "News_article_continuation_choices_ Summary_first_continuation_choices_ "
        "What_could_the_placeholder_be_ Which_one_is_the_placeholder_ choose_between corrupted "
        "exercise pick_one_option the_placeholder_refers_to_ trying_to_decide"
    ),
    "quoref": (
        "Answer_Friend_Question Answer_Question_Given_Context Answer_Test Context_Contains_Answer "
        "Find_Answer Found_Context_Online Given_Context_Answer_Question Guess_Answer "
        "Guess_Title_For_Context Read_And_Extract_ What_Is_The_Answer"
    ),
    # Multiple choice
    "cos_e_v1.11": (
        "aligned_with_common_sense description_question_option_id description_question_option_text "
        "explain_why_human generate_explanation_given_text i_think question_description_option_id "
        "question_description_option_text question_option_description_id "
        "question_option_description_text rationale"
    ),
    "cosmos_qa": (
        "context_answer_to_question context_description_question_answer_id "
        "context_description_question_answer_text context_description_question_text "
        "context_question_description_answer_id context_question_description_answer_text "
        "context_question_description_text description_context_question_answer_id "
        "description_context_question_answer_text description_context_question_text no_prompt_id "
        "no_prompt_text only_question_answer"
    ),
    "dream": (
        "answer_to_dialogue baseline generate_first_utterance generate_last_utterance "
        "read_the_following_conversation_and_answer_the_question"
    ),
    "openbookqa_main": (
        "choices choose_an_answer_with_options only_options pick_answer_with_options pick_using_id "
        "which_correct which_correct_inverse"
    ),
    "qasc": (
        "is_correct_1 is_correct_2 qa_with_combined_facts_1 qa_with_separated_facts_1 "
        "qa_with_separated_facts_2 qa_with_separated_facts_3 qa_with_separated_facts_4 "
        "qa_with_separated_facts_5"
    ),
    "quail": (
        "context_description_question_answer_id context_description_question_answer_text "
        "context_description_question_text context_question_answer_description_id "
        "context_question_answer_description_text context_question_description_answer_id "
        "context_question_description_answer_text context_question_description_text "
        "description_context_question_answer_id description_context_question_answer_text "
        "description_context_question_text no_prompt_id no_prompt_text"
    ),
    "quarel": "choose_between do_not_use heres_a_story logic_test testing_students",
    "quartz": (
        "answer_question_based_on answer_question_below given_the_fact_answer_the_q "
        "having_read_above_passage paragraph_question_plain_concat read_passage_below_choose "
        "use_info_from_paragraph_question use_info_from_question_paragraph"
    ),
    "race_high": _RACE,
    "race_middle": _RACE,
    "sciq": (
        "Direct_Question Direct_Question_Closed_Book_ Multiple_Choice Multiple_Choice_Closed_Book_ "
        "Multiple_Choice_Question_First"
    ),
    "social_i_qa": (
        "Check_if_a_random_answer_is_valid_or_not Generate_answer "
        "Generate_the_question_from_the_answer I_was_wondering Show_choices_and_generate_answer "
        "Show_choices_and_generate_index"
    ),
    "super_glue_boolq": (
        "GPT_3_Style I_wonder_ after_reading based_on_the_following_passage "
        "based_on_the_previous_passage could_you_tell_me_ exam exercise valid_binary "
        "yes_no_question"
    ),
    "super_glue_copa": (
        "C1_or_C2_premise_so_because_ _As_a_result_C1_or_C2_ _What_could_happen_next_C1_or_C2_ "
        "_which_may_be_caused_by _why_C1_or_C2 best_option cause_effect choose exercise "
        "i_am_hesitating more_likely plausible_alternatives"
    ),
    "super_glue_multirc": (
        "I_was_going_to_say_ Would_it_be_good_to_answer_ confirm correct decide_valid "
        "found_this_answer grading is_a_correct_answer_ is_the_correct_answer_ "
        "paragraph_question_is_it_"
    ),
    "wiki_hop_original": (
        "choose_best_object_affirmative_1 choose_best_object_affirmative_2 "
        "choose_best_object_affirmative_3 choose_best_object_interrogative_1 "
        "choose_best_object_interrogative_2 explain_relation generate_object generate_subject "
        "generate_subject_and_object"
    ),
    "wiqa": (
        "does_the_supposed_perturbation_have_an_effect effect_with_label_answer "
        "effect_with_string_answer what_is_the_final_step_of_the_following_process "
        "what_is_the_missing_first_step what_might_be_the_first_step_of_the_process "
        "what_might_be_the_last_step_of_the_process "
        "which_of_the_following_is_the_supposed_perturbation"
    ),
    "piqa": (
        "Correct_the_solution Correct_the_solution_if_false_from_sol_1 "
        "Correct_the_solution_if_false_from_sol_2 Does_this_solution_make_sense_sol1 "
        "Does_this_solution_make_sense_sol2 choose_the_most_appropriate_solution "
        "finish_sentence_with_correct_choice no_prompt_needed pick_correct_choice_index "
        "pick_correct_choice_with_choice_given_before_goal what_is_the_correct_ending"
    ),
    # Sentiment
    "amazon_polarity": (
        "Is_this_product_review_positive Is_this_review Is_this_review_negative "
        "User_recommend_this_product convey_negative_or_positive_sentiment flattering_or_not "
        "negative_or_positive_tone user_satisfied would_you_buy"
    ),
    "app_reviews": (
        "categorize_rating_using_review convert_to_rating convert_to_star_rating generate_review"
    ),
    "imdb": (
        "Movie_Expressed_Sentiment Movie_Expressed_Sentiment_2 "
        "Negation_template_for_positive_and_negative Reviewer_Enjoyment Reviewer_Enjoyment_Yes_No "
        "Reviewer_Expressed_Sentiment Reviewer_Opinion_bad_good_choices Reviewer_Sentiment_Feeling "
        "Sentiment_with_choices_ Text_Expressed_Sentiment Writer_Expressed_Sentiment"
    ),
    "rotten_tomatoes": (
        "Movie_Expressed_Sentiment Movie_Expressed_Sentiment_2 Reviewer_Enjoyment "
        "Reviewer_Enjoyment_Yes_No Reviewer_Expressed_Sentiment Reviewer_Opinion_bad_good_choices "
        "Reviewer_Sentiment_Feeling Sentiment_with_choices_ Text_Expressed_Sentiment "
        "Writer_Expressed_Sentiment"
    ),
    "yelp_review_full": (
        "based_on_that format_rating format_score format_star on_a_scale so_i_would this_place"
    ),
    # Story completion
    "hellaswag": (
        "Appropriate_continuation_Yes_or_No Open_ended_completion Open_ended_start "
        "Predict_ending_with_hint Randomized_prompts_template "
        "Reversed_appropriate_continuation_Yes_or_No Topic_of_the_context "
        "Topic_without_the_ending_answer complete_first_then how_ends if_begins_how_continues"
    ),
    # Structure to text
    "common_gen": (
        "Example_prompt Given_concepts_type_1 Given_concepts_type_2 Put_together "
        "choice_in_concept_centric_sentence_generation random_task_template_prompt "
        "sentence_to_concepts topic_to_sentence topics_from_the_sentence"
    ),
    "wiki_bio": "comprehension guess_person key_content what_content who",
    # Summaries
    "cnn_dailymail_3.0.0": (
        "2_or_3_sentences generate_story news_card_view news_stock news_summary spice_up_story "
        "sum_in_brief tldr_summary write_an_outline"
    ),
    "gigaword": (
        "TLDR first_sentence_title generate_summary_for_this in_a_nutshell make_a_title "
        "reverse_writing write_a_title_for_this_sentence write_an_article write_its_sentence"
    ),
    "multi_news": (
        "distill expand_reverse_task_ summarize summary_scenario synthesize what_are_the_key_points"
    ),
    "samsum": (
        "Generate_a_summary_for_this_dialogue Given_the_above_dialogue_write_a_summary "
        "Sum_up_the_following_dialogue Summarize_ Summarize_this_dialogue_ To_sum_up_this_dialog "
        "Write_a_dialogue_that_match_this_summary"
    ),
    "xsum": (
        "DOC_boils_down_to_simple_idea_that DOC_given_above_write_one_sentence "
        "DOC_how_would_you_rephrase_few_words DOC_tldr DOC_write_summary_of_above "
        "article_DOC_summary college_roommate_asked_DOC_so_I_recap read_below_DOC_write_abstract "
        "summarize_DOC summarize_this_DOC_summary"
    ),
    # Topics
    "ag_news": (
        "classify classify_question_first classify_with_choices "
        "classify_with_choices_question_first recommend which_section which_section_choices"
    ),
    "dbpedia_14": (
        "given_a_choice_of_categories_ given_a_list_of_category_what_does_the_title_belong_to "
        "given_list_what_category_does_the_paragraph_belong_to "
        "pick_one_category_for_the_following_text"
    ),
    "trec": (
        "fine_grained_ABBR fine_grained_ABBR_context_first fine_grained_DESC "
        "fine_grained_DESC_context_first fine_grained_ENTY fine_grained_HUM "
        "fine_grained_HUM_context_first fine_grained_LOC fine_grained_LOC_context_first "
        "fine_grained_NUM fine_grained_NUM_context_first fine_grained_open "
        "fine_grained_open_context_first pick_the_best_descriptor trec1 trec2 "
        "what_category_best_describe which_category_best_describes"
    ),
    # Senses of words
    "super_glue_wic": (
        "GPT_3_prompt GPT_3_prompt_with_label affirmation_true_or_false grammar_homework "
        "polysemous question_context question_context_meaning question_context_meaning_with_label "
        "same_sense similar_sense"
    ),
}

DATASETS = {name: tuple(prompts.split()) for name, prompts in _PROMPTS.items()}
